//! Silence on a feed: after [`HEARTBEAT`] without a message it sends a bookmark.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use quartet::limits::HEARTBEAT;
use tokio::time::{Instant, Sleep, sleep};

use super::live::Live;

/// The clock of a feed's silence.
pub(crate) struct Heartbeat {
    /// Rings when the feed may have been silent for [`HEARTBEAT`].
    clock: Pin<Box<Sleep>>,
    /// Knows when the last message went out, by the feed or by its lane.
    live: Live,
}

impl Heartbeat {
    /// Begins now.
    pub(crate) fn new(live: Live) -> Self {
        Self { clock: Box::pin(sleep(HEARTBEAT)), live }
    }

    /// A message goes out.
    pub(crate) fn beat(&self) {
        self.live.note_message();
    }

    /// Waits until there was no message for [`HEARTBEAT`]. The clock is set again only when it
    /// rings, not for each message. Cancel-safe.
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
