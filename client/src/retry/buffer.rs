//! A request body that can be sent more than once, as far as it is kept.
//!
//! Attempts read from one [`Buffered`]: first what the attempts before them have read, then the source. What comes from the
//! source is kept until the call is committed. That happens by itself when more would be kept than the limit; the attempt that
//! reads at that moment is the last.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::{Status, body::Body};

use super::message_size::MessageSize;

/// Bytes of a request that are kept for another attempt: grpc-go's for each call.
pub const DEFAULT_BUFFER_BYTES: usize = 256 * 1024;

/// The request body of a call.
#[derive(Debug, Clone)]
pub(crate) struct Buffered(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    source: Body,
    size: Option<MessageSize>,
    /// What was read and may be sent again, or was not sent yet.
    kept: VecDeque<Bytes>,
    /// What was read and is gone: the index of the first that is kept.
    gone: usize,
    /// Bytes that may still be kept.
    room: usize,
    ended: bool,
    /// Why there is no more of it, if that is not its end.
    failed: Option<Status>,
    /// What was sent is kept no longer, and no other attempt may begin.
    committed: bool,
    /// The attempt that may read. Those before it are over, though HTTP/2 may not have heard of it.
    attempt: u32,
    /// Who polls in vain.
    waiting: Option<Waker>,
}

impl Buffered {
    pub(crate) fn new(source: Body, room: usize, limit: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            source,
            size: limit.map(MessageSize::new),
            kept: VecDeque::new(),
            gone: 0,
            room,
            ended: false,
            failed: None,
            committed: false,
            attempt: 0,
            waiting: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of a new attempt. Whoever reads for an older one is turned away.
    pub(crate) fn attempt(&self) -> Body {
        let mut inner = self.lock();
        inner.attempt += 1;
        if let Some(waiting) = inner.waiting.take() {
            waiting.wake();
        }
        Body::new(Attempt { buffered: self.clone(), attempt: inner.attempt, next: 0 })
    }

    /// There will be no other attempt.
    pub(crate) fn commit(&self) {
        self.lock().committed = true;
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.lock().committed
    }

    /// Why the request itself could not be read to its end.
    pub(crate) fn failed(&self) -> Option<Status> {
        self.lock().failed.clone()
    }

    /// All of it, if it is there at once and fits: then attempts can be made beside each other. What was read stays for an attempt
    /// that is made in the usual way.
    pub(crate) fn collected(&self) -> Option<Vec<Bytes>> {
        let mut inner = self.lock();
        let mut cx = Context::from_waker(Waker::noop());
        while !inner.ended && !inner.committed {
            if inner.poll_source(&mut cx).is_pending() {
                return None;
            }
        }
        (!inner.committed).then(|| inner.kept.iter().cloned().collect())
    }
}

impl Inner {
    /// Reads on in the source, up to the next bytes or its end.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            // Requests of gRPC have no trailers.
            Some(Ok(frame)) => self.keep(frame.into_data().unwrap_or_default()),
            // Whoever called has broken off.
            Some(Err(status)) => self.fail(status),
            None => self.ended = true,
        }
        Poll::Ready(())
    }

    fn keep(&mut self, bytes: Bytes) {
        if let Some(Err(status)) = self.size.as_mut().map(|size| size.pass(&bytes)) {
            return self.fail(status);
        }
        match self.room.checked_sub(bytes.len()) {
            Some(room) => self.room = room,
            None => self.committed = true,
        }
        self.kept.push_back(bytes);
    }

    fn fail(&mut self, status: Status) {
        self.failed = Some(status);
        self.committed = true;
    }

    /// The piece that an attempt sends next, of those that were read.
    fn piece(&mut self, index: usize) -> Option<Bytes> {
        if !self.committed {
            return self.kept.get(index - self.gone).cloned();
        }
        while self.gone < index {
            self.kept.pop_front()?;
            self.gone += 1;
        }
        let piece = self.kept.pop_front()?;
        self.gone += 1;
        Some(piece)
    }
}

/// The body of one attempt.
#[derive(Debug)]
struct Attempt {
    buffered: Buffered,
    attempt: u32,
    /// The index of what it sends next.
    next: usize,
}

impl http_body::Body for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let mut inner = this.buffered.lock();
        if inner.attempt != this.attempt {
            return Poll::Ready(Some(Err(Status::cancelled("this attempt is over"))));
        }
        loop {
            if let Some(bytes) = inner.piece(this.next) {
                this.next += 1;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(status) = &inner.failed {
                return Poll::Ready(Some(Err(status.clone())));
            }
            if inner.ended {
                return Poll::Ready(None);
            }
            if inner.poll_source(cx).is_pending() {
                inner.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn body(pieces: &'static [&'static str]) -> Body {
        let frame = |piece: &'static &'static str| {
            Ok::<_, Status>(Frame::data(Bytes::from_static(piece.as_bytes())))
        };
        Body::new(StreamBody::new(stream::iter(pieces).map(frame)))
    }

    async fn read(body: &mut Body, pieces: usize) -> String {
        let mut text = String::new();
        for _ in 0..pieces {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn every_attempt_begins_with_the_first_byte() {
        let buffered = Buffered::new(body(&["a", "b", "c"]), 100, None);
        assert_eq!(read(&mut buffered.attempt(), 2).await, "ab");
        let mut second = buffered.attempt();
        assert_eq!(read(&mut second, 3).await, "abc");
        assert!(second.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_attempt_that_is_over_reads_nothing_more() {
        let buffered = Buffered::new(body(&["a", "b"]), 100, None);
        let mut first = buffered.attempt();
        assert_eq!(read(&mut first, 1).await, "a");
        let mut second = buffered.attempt();
        assert!(first.frame().await.unwrap().is_err());
        assert_eq!(read(&mut second, 2).await, "ab");
    }

    #[tokio::test]
    async fn one_that_waits_is_woken_to_hear_that_it_is_over() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
        let buffered = Buffered::new(Body::new(silent), 100, None);
        let mut first = buffered.attempt();
        let mut waiting = Box::pin(first.frame());
        assert!(waiting.as_mut().now_or_never().is_none());
        let _second = buffered.attempt();
        let woken = tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await;
        assert!(woken.unwrap().unwrap().is_err());
    }

    #[tokio::test]
    async fn more_than_the_limit_commits_and_what_was_sent_is_kept_no_longer() {
        let buffered = Buffered::new(body(&["aa", "bb", "cc", "dd"]), 4, None);
        let mut attempt = buffered.attempt();
        assert_eq!(read(&mut attempt, 2).await, "aabb");
        assert!(!buffered.is_committed());
        assert_eq!(read(&mut attempt, 1).await, "cc");
        assert!(buffered.is_committed() && buffered.lock().kept.is_empty());
        assert_eq!(read(&mut attempt, 1).await, "dd");
        assert!(attempt.frame().await.is_none());
    }

    #[tokio::test]
    async fn what_is_there_at_once_can_be_collected_and_the_rest_is_not_lost() {
        let whole = Buffered::new(body(&["a", "b"]), 100, None);
        assert_eq!(whole.collected().unwrap().concat(), b"ab");
        let large = Buffered::new(body(&["aa", "bb"]), 3, None);
        assert_eq!(large.collected(), None);
        assert_eq!(read(&mut large.attempt(), 2).await, "aabb");
    }

    #[tokio::test]
    async fn a_message_over_the_limit_ends_the_request() {
        let buffered = Buffered::new(body(&["\0\0\0\0\u{9}"]), 100, Some(8));
        let error = buffered.attempt().frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::ResourceExhausted);
        assert!(buffered.is_committed() && buffered.failed().is_some());
    }
}
