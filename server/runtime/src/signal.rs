//! A signal for one task that waits: cheaper than what serves many.

use std::{
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicPtr, Ordering},
    },
    task::{Context, Wake, Waker},
};

use parking_lot::Mutex;

/// Raised by anybody, noticed by the one task that looked last. It stays raised until somebody
/// looks.
#[derive(Debug)]
pub struct Signal {
    raised: AtomicBool,
    /// The task that looked last.
    task: Mutex<Option<Waker>>,
    /// The same task, as far as one look can tell: nearly always it is the one that looks again.
    known: AtomicPtr<()>,
}

impl Default for Signal {
    fn default() -> Self {
        Self {
            raised: AtomicBool::new(false),
            task: Mutex::default(),
            known: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl Signal {
    /// Wakes the task that looked last. While it is raised already, somebody has done so.
    pub fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }

    /// Whether it was raised since the last look. The task that calls is woken when it is raised
    /// again.
    pub fn take(&self, cx: &mut Context<'_>) -> bool {
        // In this order, so that no signal falls between the two.
        self.register(cx.waker());
        self.raised.swap(false, Ordering::AcqRel)
    }

    fn register(&self, waker: &Waker) {
        // We hold a clone of the waker that is known, so no other one can have its address.
        if self.known.load(Ordering::Relaxed) != waker.data().cast_mut() {
            *self.task.lock() = Some(waker.clone());
            self.known.store(waker.data().cast_mut(), Ordering::Relaxed);
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll, time::Duration};

    use futures::FutureExt as _;
    use tokio::{task::JoinSet, time::timeout};

    use super::*;

    async fn raised(signal: &Signal) {
        poll_fn(|cx| if signal.take(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn it_stays_raised_until_somebody_looks_and_is_taken_once() {
        let signal = Signal::default();
        signal.raise();
        signal.raise();
        assert!(raised(&signal).now_or_never().is_some());
        assert!(raised(&signal).now_or_never().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_signal_is_lost_between_threads_whichever_task_looks() {
        let signal = Arc::<Signal>::default();
        for _ in 0..2000 {
            // Another task each time.
            let mut tasks = JoinSet::new();
            let waiting = signal.clone();
            tasks.spawn(async move { raised(&waiting).await });
            signal.raise();
            timeout(Duration::from_secs(20), tasks.join_all()).await.expect("a signal was lost");
        }
        assert!(raised(&signal).now_or_never().is_none());
    }
}
