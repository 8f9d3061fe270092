//! The response body that the caller reads: that of the attempt that the call is committed to.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

use super::{message_size::MessageSize, single_message::SingleMessage, throttle::Throttle};
use crate::{
    cause::Cause,
    response::{GrpcBody, code_of},
};

/// How long after the deadline the channel ends a response itself. Until then, the server's own
/// DEADLINE_EXCEEDED, which may carry details such as a position, can still arrive.
const GRACE: Duration = Duration::from_millis(500);

/// A response body that keeps to the limits of its call, and ends at its deadline.
pub(super) struct ResponseBody {
    pub(super) incoming: GrpcBody,
    pub(super) deadline: Option<Deadline>,
    pub(super) size: Option<MessageSize>,
    pub(super) single: Option<SingleMessage>,
    pub(super) throttle: Option<Arc<Throttle>>,
}

/// The deadline of a call, while its response is read.
pub(super) struct Deadline {
    at: Instant,
    /// Ends [`GRACE`] later.
    grace: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(super) fn new(at: Instant) -> Self {
        Self { at, grace: Box::pin(sleep_until(at + GRACE)) }
    }
}

impl ResponseBody {
    fn check(&mut self, frame: &Frame<Bytes>) -> Result<(), Cause> {
        if let (Some(throttle), Some(trailers)) = (&self.throttle, frame.trailers_ref())
            && code_of(trailers) == Some(Code::Ok)
        {
            throttle.success();
        }
        if let (Some(size), Some(bytes)) = (&mut self.size, frame.data_ref()) {
            size.pass(bytes)?;
        }
        self.single.as_mut().map_or(Ok(()), |single| single.pass(frame))
    }
}

/// The status of a call that no server has ended: after its deadline, that is the reason. A server
/// resets the stream then (grpc-go with CANCEL), and grpc-go's client says DEADLINE_EXCEEDED too.
pub(super) fn own_status(status: Status, deadline: Option<Instant>) -> Status {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => deadline_exceeded(),
        _ => status,
    }
}

/// The status of a call whose deadline passed.
pub(super) fn deadline_exceeded() -> Status {
    Cause::Deadline(String::new()).into()
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First, so that a stream that is never pending ends in time as well.
        if let Some(deadline) = &mut self.deadline
            && deadline.grace.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(deadline_exceeded())));
        }
        Pin::new(&mut self.incoming).poll_frame(cx).map(|frame| match frame? {
            Ok(frame) => Some(self.check(&frame).map(|()| frame).map_err(Status::from)),
            Err(status) => {
                Some(Err(own_status(status, self.deadline.as_ref().map(|deadline| deadline.at))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}
