//! The layer that gives a reason to the statuses that tonic makes before a handler runs: for
//! unknown methods, and for requests that cannot be read.

use futures::TryFutureExt as _;
use http::{Request, Response};
use quartet_connection::{RequestBody, Routes, layer::Inner};
use tonic::{Code, Status, body::Body};
use tower::service_fn;

use crate::{call::CallName, error};

/// Routes whose statuses all have reasons.
pub(crate) fn around(routes: Routes) -> impl Inner<Body = Body> {
    service_fn(move |request: Request<RequestBody>| {
        let name = CallName::of(&request);
        routes.call(request).map_ok(move |response| with_reason(name.method(), response))
    })
}

fn with_reason(method: &str, response: Response<Body>) -> Response<Body> {
    // Not `Status::from_header_map` at once: every response with posts would pay for the parsing.
    if !response.headers().contains_key(Status::GRPC_STATUS)
        || response.headers().contains_key(Status::GRPC_STATUS_DETAILS)
    {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match (status.code(), status.message()) {
        // As generated code and `Routes` answer.
        (Code::Unimplemented, "") => error::unknown_method(method).into_http(),
        _ => error::of_request_message(&status).into_http(),
    }
}
