//! What callers read: the response of the attempt that the call was committed to.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};

use super::{message_size::MessageSize, throttle::Throttle};
use crate::balance::connection::status_of;

/// How much longer than its deadline a response may take to say that it is over: a server that hears us says so itself, and where
/// to go on.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The body of a response: with its errors as gRPC names them, and an end at the deadline.
struct Response {
    incoming: Incoming,
    deadline: Option<Pin<Box<Sleep>>>,
    size: Option<MessageSize>,
    throttle: Option<Arc<Throttle>>,
}

/// What callers get of this body.
pub(super) fn body(
    incoming: Incoming,
    deadline: Option<Instant>,
    limit: Option<u64>,
    throttle: Option<Arc<Throttle>>,
) -> Body {
    let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline + LAST_WORD)));
    Body::new(Response { incoming, deadline, size: limit.map(MessageSize::new), throttle })
}

impl Response {
    fn check(&mut self, frame: &Frame<Bytes>) -> Result<(), Status> {
        if let (Some(throttle), Some(trailers)) = (&self.throttle, frame.trailers_ref())
            && code_of(trailers) == Some(Code::Ok)
        {
            throttle.success();
        }
        match (&mut self.size, frame.data_ref()) {
            (Some(size), Some(bytes)) => size.pass(bytes),
            _ => Ok(()),
        }
    }
}

/// The `grpc-status` of headers or trailers, if there is one.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The deadline passed while the call was under way.
pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed")
}

impl http_body::Body for Response {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First, because a stream that never pauses must end in time, too.
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(deadline_exceeded())));
        }
        Pin::new(&mut self.incoming).poll_frame(cx).map(|frame| match frame? {
            Ok(frame) => Some(self.check(&frame).map(|()| frame)),
            Err(error) => Some(Err(status_of(error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
