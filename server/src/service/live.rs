//! The live part of a feed: posts as they are stored, on a [lane](quartet_connection::Lane) of their own.
//!
//! A feed that has caught up only waits: for requests, for receipts, for silence, and for posts, which come most often.
//! It lends its reader to the lane meanwhile. The lane looks when the dispatcher tells of a post and sends what is at hand;
//! the feed is not polled for it. As soon as the feed has anything to do, it takes the reader back, so requests and
//! bookmarks stand in the stream at the reader's own position, as if there were no lane. What takes a wait, such as a read
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
use quartet_runtime::observer::Observer;
use quartet_runtime::signal::Signal;
use tokio::time::Instant;

use super::{Next, Reader};

/// What a feed and its lane share.
#[derive(Debug, Clone)]
pub(super) struct Live(Arc<LaneSender<Shared>>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    place: Mutex<Place>,
    /// Raised when the lane leaves something to the feed.
    left: Signal,
}

#[derive(Debug, Default)]
struct Place {
    reader: Option<Box<Reader>>,
    spoke: Option<Instant>,
    /// Whether anybody looks here. A stream that is served without its lane keeps its reader.
    attended: bool,
}

impl Default for Live {
    fn default() -> Self {
        Self(LaneSender::new(Shared::default()))
    }
}

impl Live {
    /// Where posts go out.
    pub(super) fn lane(&self) -> Lane {
        Lane::new(self.0.clone())
    }

    /// Lets the lane go on from where the reader is, if anybody looks there.
    pub(super) fn lend(&self, reader: &mut Option<Box<Reader>>) {
        let mut place = self.0.place.lock();
        if place.attended && reader.is_some() {
            place.reader = reader.take();
        }
    }

    /// Takes the reader back from where the lane is. None if it was not lent.
    pub(super) fn take_back(&self) -> Option<Box<Reader>> {
        self.0.place.lock().reader.take()
    }

    /// Waits until the lane leaves something to the feed. Cancel-safe.
    pub(super) fn left(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| match self.0.left.take(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
    }

    /// Notes that the client is being told something.
    pub(super) fn speak(&self) {
        self.0.place.lock().spoke = Some(Instant::now());
    }

    /// When it was told something last.
    pub(super) fn spoke(&self) -> Instant {
        *self.0.place.lock().spoke.get_or_insert_with(Instant::now)
    }
}

impl MessageSource for Shared {
    fn next(&self, now: Instant, observer: &Weak<dyn Observer>) -> Option<Bytes> {
        let place = &mut *self.place.lock();
        let reader = place.reader.as_mut()?;
        reader.cursor.observe(observer);
        // A panic is the feed's to meet, where it becomes the status of its call.
        let next = catch_unwind(AssertUnwindSafe(|| reader.frame(now)));
        match next.unwrap_or(Next::Later) {
            Next::Frame(bytes) => {
                place.spoke = Some(now);
                Some(bytes)
            }
            Next::Nothing => None,
            Next::Later => {
                self.left.raise();
                None
            }
        }
    }

    fn activate(&self) {
        self.place.lock().attended = true;
    }
}
