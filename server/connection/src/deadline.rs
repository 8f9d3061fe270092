//! The layer that ends a call when its deadline passes.
//!
//! A gRPC deadline covers the whole call. tonic's own timeout ends with the response headers, so
//! that a stream would go on for ever; this one holds the body too, and ends it with
//! DEADLINE_EXCEEDED in its trailers. What the handler held is freed at that moment.
//!
//! [`serve`](crate::serve) puts it around every service that does not say that it
//! [has one](crate::HttpService::keeping_deadlines).
//!
//! Not here: a client that grants no window. Its stream is not polled; the connection resets it at
//! the [`Deadline`].

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};
use http_body::Body;
use quartet_wire::timeout;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tower::service_fn;

use crate::{
    layer::{
        Inner,
        watch::{Polled, Watch, answer, trailers},
    },
    request::RequestBody,
    statuses::Statuses,
};

/// A service whose calls end when the `grpc-timeout` of their request has passed. A timeout that
/// cannot be read is refused.
// ANCHOR: deadline
pub fn around(mut service: impl Inner, statuses: Arc<Statuses>) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let begun = match deadline_of(request.headers()) {
            Ok(deadline) => Ok((service.call(request), Clock::new(deadline, &statuses))),
            Err(InvalidTimeout) => Err(statuses.invalid_timeout.clone()),
        };
        answer(begun)
    })
}

/// When a stream must have ended: an extension of its response. A layer that limits a call for
/// another reason sets it too; the earliest counts.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// Ends the call at its deadline, if it has one.
struct Clock(Option<Running>);

struct Running {
    sleep: Pin<Box<Sleep>>,
    statuses: Arc<Statuses>,
}

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
        let exceeded = ready!(self.poll_passed(cx));
        Poll::Ready(Err(exceeded))
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        match self.poll_passed(cx) {
            Poll::Ready(exceeded) => Poll::Ready(Some(trailers(&exceeded))),
            Poll::Pending => body.poll_frame(cx),
        }
    }
}
// ANCHOR_END: deadline

impl Clock {
    fn new(deadline: Option<Instant>, statuses: &Arc<Statuses>) -> Self {
        Self(deadline.map(|deadline| Running {
            sleep: Box::pin(sleep_until(deadline)),
            statuses: statuses.clone(),
        }))
    }

    /// Waits for the deadline. The result is the status of the call then.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(Running { sleep, statuses }) = &mut self.0 else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(statuses.deadline_exceeded.clone())
    }

    /// Notes in a response when its stream must have ended, unless that is earlier for another
    /// reason.
    fn limit(&self, response: &mut Extensions) {
        let Some(Running { sleep, .. }) = &self.0 else { return };
        let other = response.get().map(|Deadline(end)| *end);
        let end = other.into_iter().fold(sleep.deadline(), Instant::min);
        response.insert(Deadline(end));
    }
}

/// A `grpc-timeout` that cannot be parsed.
struct InvalidTimeout;

fn deadline_of(headers: &HeaderMap) -> Result<Option<Instant>, InvalidTimeout> {
    let Some(value) = headers.get(timeout::GRPC_TIMEOUT) else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(timeout::parse).ok_or(InvalidTimeout)?;
    Ok(Some(Instant::now() + timeout))
}
