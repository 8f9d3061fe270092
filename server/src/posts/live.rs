//! The live part of a feed: posts as they are stored, on a [lane](quartet_connection::Lane).
//!
//! A feed that has caught up only waits: for requests, for receipts, for silence, and for posts,
//! which come most often. Meanwhile it lends its reader to the lane. The lane looks when the
//! dispatcher announces a post and sends what is at hand; the feed is not polled for it. As soon as
//! the feed has anything to do it takes the reader back, so requests and bookmarks stand in the
//! stream at the reader's own position, as if there were no lane. What takes a wait, such as a read
//! from the disk, the lane leaves to the feed.

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
    /// Raised when the lane leaves something to the feed.
    left: Signal,
}

#[derive(Debug, Default)]
struct State {
    reader: Option<Box<Reader>>,
    last_message: Option<Instant>,
    /// Whether a connection sends for the lane. Without one, the feed keeps its reader.
    attended: bool,
}

impl Default for Live {
    fn default() -> Self {
        Self(LaneSender::new(LivePosts::default()))
    }
}

impl Live {
    /// The lane on which posts go out.
    pub(crate) fn lane(&self) -> Lane {
        Lane::new(self.0.clone())
    }

    /// Lends the reader to the lane, if a connection sends for it.
    pub(crate) fn lend(&self, reader: &mut Option<Box<Reader>>) {
        let mut state = self.0.state.lock();
        if state.attended && reader.is_some() {
            state.reader = reader.take();
        }
    }

    /// Takes the reader back, at the position that the lane has reached. `None` if it was not lent.
    pub(crate) fn take_back(&self) -> Option<Box<Reader>> {
        self.0.state.lock().reader.take()
    }

    /// Waits until the lane leaves something to the feed. Cancel-safe.
    pub(crate) fn left(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| match self.0.left.take(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
    }

    /// Notes that a message goes out.
    pub(crate) fn note_message(&self) {
        self.0.state.lock().last_message = Some(Instant::now());
    }

    /// When the last message went out.
    pub(crate) fn last_message(&self) -> Instant {
        *self.0.state.lock().last_message.get_or_insert_with(Instant::now)
    }
}

impl MessageSource for LivePosts {
    fn next(&self, now: Instant, observer: &Weak<dyn Observer>) -> Option<Bytes> {
        let state = &mut *self.state.lock();
        let reader = state.reader.as_mut()?;
        reader.cursor.observe(observer);
        // The feed meets the panic again, in its own task, where it becomes the status of its call.
        let next = catch_unwind(AssertUnwindSafe(|| reader.ready_frame(now)));
        match next.unwrap_or(Ready::Later) {
            Ready::Frame(bytes) => {
                state.last_message = Some(now);
                Some(bytes)
            }
            Ready::Nothing => None,
            Ready::Later => {
                self.left.raise();
                None
            }
        }
    }

    fn activate(&self) {
        self.state.lock().attended = true;
    }
}
