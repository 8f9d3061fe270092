//! A signal for one task that waits: cheaper than what serves many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake},
};

use futures::task::AtomicWaker;

/// Raised by anybody, noticed by the one task that looked last. It stays raised until somebody looks.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    task: AtomicWaker,
}

impl Signal {
    /// Wakes the task that looked last.
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether it was raised since the last look. The task that calls is woken when it is raised again.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> bool {
        // In this order, so that no signal falls between the two.
        self.task.register(cx.waker());
        self.raised.swap(false, Ordering::AcqRel)
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
