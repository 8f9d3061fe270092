//! Takes `quartet-runtime`: runs tasks on two cores, counts them, and wakes one by a signal.

use std::{error::Error, future::poll_fn, sync::Arc, task::Poll};

use quartet_runtime::{cores::Threads, gauge::Gauge, signal::Signal};
use tokio_util::task::TaskTracker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let threads = Threads::start(2)?;
    let (tasks, open, signal) = (TaskTracker::new(), Gauge::default(), Arc::<Signal>::default());
    let (waiter, held) = (signal.clone(), open.hold());
    threads.cores().spawn(&tasks, async move {
        poll_fn(|cx| if waiter.take(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        drop(held);
    });
    threads.cores().spawn(&tasks, async move { signal.raise() });
    tasks.close();
    tasks.wait().await;
    assert_eq!(open.get(), 0);
    Ok(())
}
