//! The layer that adds a reason to the statuses that tonic makes before a handler runs: for unknown
//! methods and unreadable requests.

use futures::TryFutureExt as _;
use http::{Request, Response};
use quartet_connection::{RequestBody, Routes, layer::Inner};
use tonic::{Code, Status, body::Body};
use tower::service_fn;

use crate::{call::CallName, error};

/// Wraps routes so that all their statuses have reasons.
pub(crate) fn around(routes: Routes) -> impl Inner<Body = Body> {
    service_fn(move |request: Request<RequestBody>| {
        let name = CallName::of(&request);
        routes.call(request).map_ok(move |response| with_reason(name.method(), response))
    })
}

fn with_reason(method: &str, response: Response<Body>) -> Response<Body> {
    // Checked before `Status::from_header_map`, which would parse the headers of every response.
    if !response.headers().contains_key(Status::GRPC_STATUS)
        || response.headers().contains_key(Status::GRPC_STATUS_DETAILS)
    {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match (status.code(), status.message()) {
        // The answer of generated code and `Routes`.
        (Code::Unimplemented, "") => error::unknown_method(method).into_http(),
        _ => error::of_request_message(&status).into_http(),
    }
}
