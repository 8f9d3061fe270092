//! The idle timer of a feed: after [`HEARTBEAT`] without a message, a bookmark is due.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use quartet::limits::HEARTBEAT;
use tokio::time::{Instant, Sleep, sleep};

use super::live::Live;

/// The idle timer of a feed.
pub(crate) struct Heartbeat {
    /// Fires when the feed may have been idle for [`HEARTBEAT`].
    clock: Pin<Box<Sleep>>,
    /// Has the time of the last message, sent by the feed or by its lane.
    live: Live,
}

impl Heartbeat {
    /// Starts the timer.
    pub(crate) fn new(live: Live) -> Self {
        Self { clock: Box::pin(sleep(HEARTBEAT)), live }
    }

    /// Notes that a message is sent.
    pub(crate) fn beat(&self) {
        self.live.note_message();
    }

    /// Waits until no message was sent for [`HEARTBEAT`]. The timer is reset only when it fires,
    /// not for each message. Cancel-safe.
    pub(crate) fn silence(&mut self) -> impl Future<Output = ()> {
        poll_fn(|cx| {
            loop {
                let due = self.live.last_message() + HEARTBEAT;
                if Instant::now() >= due {
                    return Poll::Ready(());
                }
                if self.clock.is_elapsed() {
                    self.clock.as_mut().reset(due);
                }
                ready!(self.clock.as_mut().poll(cx));
            }
        })
    }
}
