//! The live part of a feed: posts as they are stored, on a [lane](crate::connection::Lane) of their own.
//!
//! A feed that has caught up only waits: for requests, for receipts, for silence, and for posts, which come most often.
//! It lends its reader to the lane meanwhile. The lane looks when the reader is woken and sends what is at hand; the
//! feed is not polled for it. As soon as the feed has anything to do, it takes the reader back, so requests and
//! bookmarks stand in the stream at the reader's own position, as if there were no lane. What takes a wait, such as a read
//! from the disk, the lane leaves to the feed.

use std::{
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Next, Reader};
use crate::{connection::Messages, signal::Signal};

/// What a feed and its lane share.
#[derive(Debug, Clone, Default)]
pub(super) struct Live(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    place: Mutex<Place>,
    /// Raised when the lane leaves something to the feed.
    left: Signal,
}

#[derive(Debug, Default)]
struct Place {
    reader: Option<Box<Reader>>,
    /// Whether to look although nothing woke the reader.
    look: bool,
    spoke: Option<Instant>,
    /// Whether anybody looks here. A stream that is served without its lane keeps its reader.
    attended: bool,
}

impl Live {
    /// Lets the lane go on from where the reader is, if anybody looks there.
    pub(super) fn lend(&self, reader: &mut Option<Box<Reader>>) {
        let mut place = self.0.place.lock();
        if place.attended && reader.is_some() {
            place.reader = reader.take();
            place.look = true;
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

impl Messages for Live {
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let place = &mut *self.0.place.lock();
        place.attended = true;
        let Some(reader) = &mut place.reader else { return Poll::Pending };
        let woken = reader.cursor.poll_woken(cx);
        if !mem::take(&mut place.look) && !woken {
            return Poll::Pending;
        }
        let now = Instant::now();
        match reader.frame(now) {
            Next::Frame(bytes) => {
                // There may be more behind it.
                place.look = true;
                place.spoke = Some(now);
                Poll::Ready(bytes)
            }
            Next::Nothing => Poll::Pending,
            Next::Later => {
                self.0.left.raise();
                Poll::Pending
            }
        }
    }
}
