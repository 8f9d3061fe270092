//! The layer around all services: a panic becomes INTERNAL, and a status without a reason gets one.
//!
//! Without it a handler that panics after its response headers looks like a stream that ended well. With it the
//! caller gets INTERNAL, the server's log gets the panic, and the connection lives on.
//!
//! Reasons are added to the statuses that tonic makes before a handler runs: of unknown methods and of requests that
//! it cannot read.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use quartet::{reason, wire};
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt as _, service_fn};

use crate::{
    connection::{HttpService, RequestBody},
    error,
};

/// Characters of a method's name that are echoed: callers choose it, and a status stays small.
const METHOD_CHARS: usize = 256;

/// A service whose panics are INTERNAL and whose statuses have reasons.
pub fn around(service: HttpService) -> HttpService {
    HttpService::new(service_fn(move |request| call(service.clone(), request)))
}

async fn call(
    service: HttpService,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().to_owned();
    match AssertUnwindSafe(service.oneshot(request)).catch_unwind().await {
        Ok(response) => {
            let response = with_reason(&method, response?);
            Ok(response.map(|body| Body::new(RecoveredBody { inner: Some(body), method })))
        }
        Err(panic) => {
            log_panic(&method, &*panic);
            Ok(error::internal().into_http())
        }
    }
}

/// Gives a reason to a status that tonic made before a handler ran.
fn with_reason(method: &str, response: Response<Body>) -> Response<Body> {
    // Not `Status::from_header_map`: every response with posts would pay for the parsing.
    if !response.headers().contains_key(Status::GRPC_STATUS)
        || response.headers().contains_key(Status::GRPC_STATUS_DETAILS)
    {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match (status.code(), status.message()) {
        // That is how tonic's routes say it.
        (Code::Unimplemented, "") => unknown_method(method).into_http(),
        _ => error::of_request_message(&status).into_http(),
    }
}

fn unknown_method(method: &str) -> Status {
    let message = format!("this server has no method {}", wire::truncate(method, METHOD_CHARS));
    error::status(Code::Unimplemented, reason::UNKNOWN_METHOD, message)
}

/// A body whose panics end it with INTERNAL in its trailers.
struct RecoveredBody {
    /// `None` after a panic: a stream that panicked is not polled again.
    inner: Option<Body>,
    method: String,
}

impl http_body::Body for RecoveredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))).unwrap_or_else(|panic| {
            log_panic(&self.method, &*panic);
            self.inner = None;
            Poll::Ready(Some(error::trailers(&error::internal())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

fn log_panic(method: &str, panic: &(dyn Any + Send)) {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(method, message, "a handler panicked");
}
