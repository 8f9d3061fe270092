//! The layer that turns a panic into INTERNAL.
//!
//! Without it, a stream whose handler panics after the response headers looks to the caller like a
//! regular end. With it, the caller gets INTERNAL, the panic is logged, and the connection lives
//! on.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use quartet_connection::{
    RequestBody,
    layer::{
        Inner,
        watch::{Polled, Watch, answer, trailers},
    },
};
use tonic::Status;
use tower::service_fn;

use crate::{call::CallName, error};

/// Wraps a service so that its panics become INTERNAL.
// ANCHOR: recover
pub fn around(mut service: impl Inner) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let name = CallName::of(&request);
        let begun = catch_unwind(AssertUnwindSafe(|| service.call(request)));
        let recover = Recover(name);
        answer(match begun {
            Ok(below) => Ok((below, recover)),
            Err(panic) => Err(recover.status(&*panic)),
        })
    })
}

/// Ends a call that panics with INTERNAL, in the trailers once the response has begun.
struct Recover(CallName);

impl Watch for Recover {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        match catch_unwind(AssertUnwindSafe(|| below.poll(cx))) {
            Ok(polled) => polled.map_err(|never| match never {}),
            Err(panic) => Poll::Ready(Err(self.status(&*panic))),
        }
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Some(trailers(&self.status(&*panic)))))
    }
}
// ANCHOR_END: recover

impl Recover {
    /// Logs the panic and returns the status for the caller.
    fn status(&self, panic: &(dyn Any + Send)) -> Status {
        let message = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let (method, request_id) = (self.0.method(), self.0.request_id());
        tracing::error!(method, request_id, message, "a handler panicked");
        error::internal()
    }
}
