//! Sends new posts of a waiting feed on a [lane](quartet_connection::Lane), without polling the
//! feed.
//!
//! A feed that has caught up waits for requests, receipts, its idle timer, and most often for
//! posts. While it waits, it lends its reader to the lane. When the dispatcher announces a post,
//! the lane sends it if it is in memory; the feed is not polled. Before the feed does anything
//! else, it takes the reader back, so that its other messages are placed at the reader's position,
//! as if there were no lane. Work that must wait, such as a read from the disk, is left to the
//! feed.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    task::Poll,
};

use bytes::Bytes;
use parking_lot::Mutex;
use quartet_connection::{Lane, LaneSender, MessageSource};
use quartet_runtime::{observer::Observer, signal::Signal};
use tokio::time::Instant;

use super::reader::{Reader, Ready};

/// The state that a feed and its lane share.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<LaneSender<LivePosts>>);

/// The posts of a feed, as the messages of its lane.
#[derive(Debug, Default)]
pub(crate) struct LivePosts {
    state: Mutex<State>,
    /// Raised when the lane leaves work to the feed.
    needs_feed: Signal,
}

#[derive(Debug, Default)]
struct State {
    reader: Option<Box<Reader>>,
    last_message: Option<Instant>,
    /// Whether a connection serves the lane. If none does, the feed keeps its reader.
    active: bool,
}

impl Default for Live {
    fn default() -> Self {
        Self(LaneSender::new(LivePosts::default()))
    }
}

impl Live {
    /// The lane that sends the posts.
    pub(crate) fn lane(&self) -> Lane {
        Lane::new(self.0.clone())
    }

    /// Lends the reader to the lane, if a connection serves it.
    pub(crate) fn lend(&self, reader: &mut Option<Box<Reader>>) {
        let mut state = self.0.state.lock();
        if state.active && reader.is_some() {
            state.reader = reader.take();
        }
    }

    /// Takes the reader back, at the position that the lane has reached. `None` if it was not lent.
    pub(crate) fn take_back(&self) -> Option<Box<Reader>> {
        self.0.state.lock().reader.take()
    }

    /// Waits until the lane leaves work to the feed. Cancel-safe.
    pub(crate) fn needs_feed(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| match self.0.needs_feed.take(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
    }

    /// Notes that a message is sent.
    pub(crate) fn note_message(&self) {
        self.0.state.lock().last_message = Some(Instant::now());
    }

    /// When the last message was sent.
    pub(crate) fn last_message(&self) -> Instant {
        *self.0.state.lock().last_message.get_or_insert_with(Instant::now)
    }
}

impl MessageSource for LivePosts {
    fn next(&self, now: Instant, observer: &Weak<dyn Observer>) -> Option<Bytes> {
        let state = &mut *self.state.lock();
        let reader = state.reader.as_mut()?;
        reader.cursor.observe(observer);
        // Leave a panic to the feed: it panics again in the feed's own task, where it becomes the
        // call's status.
        let next = catch_unwind(AssertUnwindSafe(|| reader.ready_frame(now)));
        match next.unwrap_or(Ready::Later) {
            Ready::Frame(bytes) => {
                state.last_message = Some(now);
                Some(bytes)
            }
            Ready::Nothing => None,
            Ready::Later => {
                self.needs_feed.raise();
                None
            }
        }
    }

    fn activate(&self) {
        self.state.lock().active = true;
    }
}
