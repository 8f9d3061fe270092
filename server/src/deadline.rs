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
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use quartet::reason;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt as _, service_fn};

use crate::{
    connection::{HttpService, RequestBody},
    error,
};

/// A service whose calls end when the `grpc-timeout` of their request is over.
pub fn around(service: HttpService) -> HttpService {
    HttpService::new(service_fn(move |request| call(service.clone(), request)))
}

// ANCHOR: deadline
async fn call(
    service: HttpService,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Infallible> {
    let deadline = match timeout_of(request.headers()) {
        Ok(None) => return service.oneshot(request).await,
        Ok(Some(timeout)) => Instant::now() + timeout,
        Err(status) => return Ok(status.into_http()),
    };
    match timeout_at(deadline, service.oneshot(request)).await {
        Ok(response) => {
            let mut response = response?.map(|body| DeadlineBody::wrap(body, deadline));
            response.extensions_mut().insert(Deadline(deadline));
            Ok(response)
        }
        Err(_) => Ok(exceeded().into_http()),
    }
}
// ANCHOR_END: deadline

/// When a stream must have ended: an extension of its response.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// A body that ends at the deadline.
struct DeadlineBody {
    /// `None` once the deadline has passed.
    inner: Option<Body>,
    deadline: Pin<Box<Sleep>>,
}

impl DeadlineBody {
    fn wrap(body: Body, deadline: Instant) -> Body {
        Body::new(Self { inner: Some(body), deadline: Box::pin(sleep_until(deadline)) })
    }
}

impl http_body::Body for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.inner.is_some() && self.deadline.as_mut().poll(cx).is_ready() {
            self.inner = None;
            return Poll::Ready(Some(error::trailers(&exceeded())));
        }
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

fn exceeded() -> Status {
    error::status(
        Code::DeadlineExceeded,
        reason::DEADLINE_EXCEEDED,
        "the deadline passed; what was written may or may not be stored",
    )
}

/// The time that a call may take: up to 8 digits and a unit, as gRPC over HTTP/2 defines `grpc-timeout`.
fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse_timeout);
    timeout.map(Some).ok_or_else(|| error::invalid_field("grpc-timeout", "is not a timeout"))
}

fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let valid = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| valid)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 60 * 60),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (value, timeout) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0m", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789S", None),
            ("+1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(parse_timeout(value), timeout, "{value:?}");
        }
    }
}
