//! What the threads of a streaming server share.
//!
//! - [`cores`]: threads with a runtime each, over which connections are spread.
//! - [`signal`]: wakes one task that waits alone.
//! - [`observer`]: acts on news where they become known.
//! - [`gauge`]: counts what is open.
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
