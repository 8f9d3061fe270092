//! A request body that several attempts can send, as far as it is kept.
//!
//! Attempts read from one [`ReplayableBody`]: first what earlier attempts have read, then the
//! source. Bytes from the source are kept until the call is committed. It commits itself when it
//! would keep more than its limit; the attempt that reads at that moment is the last.

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

/// Bytes of a request that are kept for another attempt: grpc-go's default.
pub(crate) const DEFAULT_BUFFER_BYTES: usize = 256 * 1024;

/// The request body of a call.
#[derive(Debug, Clone)]
pub(crate) struct ReplayableBody(Arc<Mutex<ReplayState>>);

#[derive(Debug)]
struct ReplayState {
    source: Body,
    size: Option<MessageSize>,
    /// What was read and is still needed: for another attempt, or not sent yet.
    kept: VecDeque<Bytes>,
    /// The number of pieces that were read and dropped; the index of the first that is kept.
    gone: usize,
    /// Bytes that may still be kept.
    room: usize,
    ended: bool,
    /// Why the request broke off.
    failed: Option<Status>,
    /// Sent pieces are dropped, and no other attempt may begin.
    committed: bool,
    /// The attempt that may read. Earlier ones are over, though their bodies may still be polled.
    attempt: u32,
    /// The attempt that waits for the source.
    waiting: Option<Waker>,
}

impl ReplayableBody {
    pub(crate) fn new(source: Body, room: usize, limit: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(ReplayState {
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

    fn lock(&self) -> MutexGuard<'_, ReplayState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of a new attempt. The bodies of earlier ones end with an error.
    pub(crate) fn attempt(&self) -> Body {
        let mut inner = self.lock();
        inner.attempt += 1;
        if let Some(waiting) = inner.waiting.take() {
            waiting.wake();
        }
        Body::new(AttemptBody { request: self.clone(), attempt: inner.attempt, next: 0 })
    }

    /// Rules out other attempts.
    pub(crate) fn commit(&self) {
        self.lock().committed = true;
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.lock().committed
    }

    /// Whether all of the request was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.lock().ended
    }

    /// Why the request broke off, if it did.
    pub(crate) fn failed(&self) -> Option<Status> {
        self.lock().failed.clone()
    }

    /// The whole request, if it is available at once and fits the buffer, so that several attempts
    /// can send it at the same time. What was read is not lost: a usual attempt can still send it.
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

impl ReplayState {
    /// Reads the next piece of the source, or its end.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            // A gRPC request has no trailers.
            Some(Ok(frame)) => self.keep(frame.into_data().unwrap_or_default()),
            // The caller broke the request off.
            Some(Err(status)) => self.fail(status),
            None => self.ended = true,
        }
        Poll::Ready(())
    }

    fn keep(&mut self, bytes: Bytes) {
        if let Some(Err(cause)) = self.size.as_mut().map(|size| size.pass(&bytes)) {
            return self.fail(cause.into());
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

    /// The piece with this index, if it was read. Once the call is committed, drops the pieces up
    /// to it.
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
struct AttemptBody {
    request: ReplayableBody,
    attempt: u32,
    /// The index of the piece to send next.
    next: usize,
}

impl http_body::Body for AttemptBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let mut inner = this.request.lock();
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
    async fn every_attempt_starts_with_the_first_byte() {
        let request = ReplayableBody::new(body(&["a", "b", "c"]), 100, None);
        assert_eq!(read(&mut request.attempt(), 2).await, "ab");
        let mut second = request.attempt();
        assert_eq!(read(&mut second, 3).await, "abc");
        assert!(second.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_superseded_attempt_reads_nothing_more() {
        let request = ReplayableBody::new(body(&["a", "b"]), 100, None);
        let mut first = request.attempt();
        assert_eq!(read(&mut first, 1).await, "a");
        let mut second = request.attempt();
        assert!(first.frame().await.unwrap().is_err());
        assert_eq!(read(&mut second, 2).await, "ab");
    }

    #[tokio::test]
    async fn a_superseded_attempt_that_waits_is_woken_and_fails() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
        let request = ReplayableBody::new(Body::new(silent), 100, None);
        let mut first = request.attempt();
        let mut waiting = Box::pin(first.frame());
        assert!(waiting.as_mut().now_or_never().is_none());
        let _second = request.attempt();
        let woken = tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await;
        assert!(woken.unwrap().unwrap().is_err());
    }

    #[tokio::test]
    async fn exceeding_the_limit_commits_and_drops_what_was_sent() {
        let request = ReplayableBody::new(body(&["aa", "bb", "cc", "dd"]), 4, None);
        let mut attempt = request.attempt();
        assert_eq!(read(&mut attempt, 2).await, "aabb");
        assert!(!request.is_committed());
        assert_eq!(read(&mut attempt, 1).await, "cc");
        assert!(request.is_committed() && request.lock().kept.is_empty());
        assert_eq!(read(&mut attempt, 1).await, "dd");
        assert!(attempt.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_available_at_once_can_be_collected_and_nothing_is_lost() {
        let whole = ReplayableBody::new(body(&["a", "b"]), 100, None);
        assert_eq!(whole.collected().unwrap().concat(), b"ab");
        let large = ReplayableBody::new(body(&["aa", "bb"]), 3, None);
        assert_eq!(large.collected(), None);
        assert_eq!(read(&mut large.attempt(), 2).await, "aabb");
    }

    #[tokio::test]
    async fn a_message_over_the_limit_ends_the_request() {
        let request = ReplayableBody::new(body(&["\0\0\0\0\u{9}"]), 100, Some(8));
        let error = request.attempt().frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::ResourceExhausted);
        assert!(request.is_committed() && request.failed().is_some());
    }
}
