//! The layer that ends a call when its deadline passes.
//!
//! A gRPC deadline covers the whole call. tonic's own timeout ends with the response headers, so that a stream would
//! go on for ever; this one holds the body too, and ends it with DEADLINE_EXCEEDED in its trailers. What the handler
//! held is freed at that moment.
//!
//! Not here: a client that grants no window. Its stream is not polled; the connection resets it at the [`Deadline`].

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};
use http_body::Body;
use quartet::reason;
use quartet_wire::timeout;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};
use tower::service_fn;

use super::{
    Inner,
    watch::{Polled, Watch, answer},
};
use crate::{connection::RequestBody, error};

/// A service whose calls end when the `grpc-timeout` of their request is over.
// ANCHOR: deadline
pub fn around(mut service: impl Inner) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let deadline = deadline_of(request.headers());
        answer(deadline.map(|deadline| (service.call(request), Clock::of(deadline))))
    })
}

/// When a stream must have ended: an extension of its response.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// What rings at the deadline, if there is one.
struct Clock(Option<Pin<Box<Sleep>>>);

impl Watch for Clock {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        if let Poll::Ready(Ok(mut response)) = below.poll(cx) {
            self.limit(response.extensions_mut());
            return Poll::Ready(Ok(response));
        }
        ready!(self.poll_ring(cx));
        Poll::Ready(Err(exceeded()))
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        if self.poll_ring(cx).is_ready() {
            return Poll::Ready(Some(error::trailers(&exceeded())));
        }
        body.poll_frame(cx)
    }
}
// ANCHOR_END: deadline

impl Clock {
    fn of(deadline: Option<Instant>) -> Self {
        Self(deadline.map(|deadline| Box::pin(sleep_until(deadline))))
    }

    fn poll_ring(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |clock| clock.as_mut().poll(cx))
    }

    /// Says in a response when its stream must have ended. A token may end before.
    fn limit(&self, response: &mut Extensions) {
        let Some(clock) = &self.0 else { return };
        let token = response.get().map(|Deadline(end)| *end);
        let end = token.into_iter().fold(clock.deadline(), Instant::min);
        response.insert(Deadline(end));
    }
}

fn deadline_of(headers: &HeaderMap) -> Result<Option<Instant>, Status> {
    Ok(timeout_of(headers)?.map(|timeout| Instant::now() + timeout))
}

fn exceeded() -> Status {
    error::status(
        Code::DeadlineExceeded,
        reason::DEADLINE_EXCEEDED,
        "the deadline passed; what was written may or may not be stored",
    )
}

/// The time that a call may take.
fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(timeout::GRPC_TIMEOUT) else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(timeout::parse);
    timeout.map(Some).ok_or_else(|| error::invalid_field("grpc-timeout", "is not a timeout"))
}
