//! Threads, wake-ups and gauges for a streaming server.
//!
//! - [`cores`]: threads with one runtime each, over which connections are distributed.
//! - [`signal`]: wakes a single waiting task.
//! - [`observer`]: a callback that handles news in the task that has them, without waking another
//!   task.
//! - [`gauge`]: counts open things, such as connections.
//!
//! ```
//! use quartet_runtime::{cores::Threads, gauge::Gauge};
//! use tokio_util::task::TaskTracker;
//!
//! # fn main() -> std::io::Result<()> {
//! let (threads, tasks, open) = (Threads::start(2)?, TaskTracker::new(), Gauge::default());
//! let held = open.hold();
//! threads.cores().spawn(&tasks, async move { drop(held) });
//! tasks.close();
//! tokio::runtime::Builder::new_current_thread().build()?.block_on(tasks.wait());
//! assert_eq!(open.get(), 0);
//! # Ok(())
//! # }
//! ```

pub mod cores;
pub mod gauge;
pub mod observer;
pub mod signal;
