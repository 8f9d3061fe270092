//! A signal for a single waiting task: cheaper than a notification for several.

use std::{
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicPtr, Ordering},
    },
    task::{Context, Wake, Waker},
};

use parking_lot::Mutex;

/// A flag that any thread can raise. It wakes the task that last called [`take`](Self::take), and
/// stays raised until the next call.
#[derive(Debug)]
pub struct Signal {
    raised: AtomicBool,
    /// The task that called `take` last.
    task: Mutex<Option<Waker>>,
    /// The address of that task's waker, to compare without the lock: nearly always the same task
    /// calls again.
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
    /// Raises the signal. Wakes the task that called `take` last, unless the signal is raised
    /// already.
    pub fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }

    /// Whether the signal was raised since the last call. The calling task is woken when it is
    /// raised again.
    pub fn take(&self, cx: &mut Context<'_>) -> bool {
        // In this order, so that a signal raised in between is not lost.
        self.register(cx.waker());
        self.raised.swap(false, Ordering::AcqRel)
    }

    fn register(&self, waker: &Waker) {
        // `task` holds a clone of the known waker, so no other waker can have its address.
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
    async fn a_signal_stays_raised_until_it_is_taken_once() {
        let signal = Signal::default();
        signal.raise();
        signal.raise();
        assert!(raised(&signal).now_or_never().is_some());
        assert!(raised(&signal).now_or_never().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_signal_is_lost_between_threads_when_another_task_waits_each_time() {
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
