//! What a dispatcher and one cursor share.

use std::{
    future::poll_fn,
    sync::{
        OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use quartet_runtime::{observer::Observer, signal::Signal};
use tokio::time::Instant;

/// The position of a cursor, the matches that it has not examined, and how it is woken.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    signal: Signal,
    /// Acts on news at once, in place of the waiting task.
    observer: OnceLock<Weak<dyn Observer>>,
    /// Up to here the cursor has examined the log itself.
    position: AtomicU64,
    matched: Mutex<Option<Matched>>,
    /// Matches up to here were not noted: the filter was not registered yet.
    known_from: AtomicU64,
}

/// The matches that the cursor has not examined yet: the first, the last, and perhaps others
/// between them.
#[derive(Debug)]
struct Matched {
    first: u64,
    last: u64,
}

impl Matched {
    /// The position just before the first match that is after `position`.
    fn start_after(&self, position: u64) -> u64 {
        position.max(self.first - 1)
    }
}

impl Waiter {
    /// Starts over: no match is known, and those up to `known_from` will not be noted.
    pub(super) fn reset(&self, known_from: u64) {
        self.known_from.store(known_from, Ordering::Relaxed);
        *self.matched.lock() = None;
    }

    /// Up to here the cursor has examined the log itself.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Sets how far the cursor has examined the log itself.
    pub(super) fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Release);
    }

    /// Number of posts after the position of which any may match.
    pub(super) fn lag(&self, examined: u64) -> u64 {
        let position = self.position();
        let from = match &*self.matched.lock() {
            _ if position < self.known_from.load(Ordering::Relaxed) => position,
            Some(matched) if matched.last > position => matched.start_after(position),
            _ => examined,
        };
        examined.saturating_sub(from)
    }

    /// The position just before the first noted match after `position`. None if there is no such
    /// match; then the noted matches, which the cursor has examined, are forgotten.
    pub(super) fn start_of_match(&self, position: u64) -> Option<u64> {
        let mut matched = self.matched.lock();
        let start = matched.as_ref().filter(|matched| matched.last > position);
        let start = start.map(|matched| matched.start_after(position));
        if start.is_none() {
            *matched = None;
        }
        start
    }

    /// Notes that posts from `first` to `last` may match. Returns whether the cursor must be
    /// notified: not if it knows of an earlier match that it has not examined.
    pub(super) fn may_match(&self, first: u64, last: u64) -> bool {
        if last <= self.position() {
            return false; // The cursor was faster.
        }
        match &mut *self.matched.lock() {
            Some(matched) => {
                matched.last = last;
                false
            }
            none => {
                *none = Some(Matched { first, last });
                true
            }
        }
    }

    /// The observer, if one was set.
    pub(super) fn observer(&self) -> Option<&Weak<dyn Observer>> {
        self.observer.get()
    }

    /// Sets the observer. Only the first call has an effect.
    pub(super) fn observe(&self, observer: &Weak<dyn Observer>) {
        self.observer.get_or_init(|| observer.clone());
    }

    /// Notifies the observer of news; wakes the waiting task if that delivered nothing.
    pub(super) fn notify(&self, now: Instant) {
        let observer = self.observer.get().and_then(Weak::upgrade);
        if !observer.is_some_and(|observer| observer.notify(now)) {
            self.signal.raise();
        }
    }

    /// Waits until there may be news. Cancel-safe.
    pub(super) async fn woken(&self) {
        let woken = |cx: &mut Context<'_>| {
            if self.signal.take(cx) { Poll::Ready(()) } else { Poll::Pending }
        };
        poll_fn(woken).await;
    }
}
