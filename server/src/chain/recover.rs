//! The layer that turns a panic into INTERNAL.
//!
//! Without it a handler that panics after its response headers looks like a stream that ended well. With it the
//! caller gets INTERNAL, the server's log gets the panic, and the connection lives on.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::Request;
use http_body::Body;
use tonic::Status;
use tower::service_fn;

use super::{
    Inner,
    body::{Polled, Watch, Watched},
    call::Name,
};
use crate::{connection::RequestBody, error};

/// A service whose panics are INTERNAL.
// ANCHOR: recover
pub fn around(mut service: impl Inner) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let name = Name::of(&request);
        let begun = catch_unwind(AssertUnwindSafe(|| service.call(request)));
        async move {
            let answered = match begun {
                Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            match answered {
                Ok(response) => Ok(Watched::response(response?, Recover(name))),
                Err(panic) => {
                    log_panic(&name, &*panic);
                    Ok(error::internal().into_http())
                }
            }
        }
    })
}

/// What a panic ends with: INTERNAL in the trailers.
struct Recover(Name);

impl Watch for Recover {
    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))).unwrap_or_else(|panic| {
            log_panic(&self.0, &*panic);
            Poll::Ready(Some(error::trailers(&error::internal())))
        })
    }
}
// ANCHOR_END: recover

fn log_panic(name: &Name, panic: &(dyn Any + Send)) {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let (method, request_id) = (name.method(), name.request_id());
    tracing::error!(method, request_id, message, "a handler panicked");
}
