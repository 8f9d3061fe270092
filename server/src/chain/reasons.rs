//! The layer that gives a reason to the statuses that tonic makes before a handler runs: of unknown methods and of
//! requests that it cannot read.

use std::sync::Arc;

use futures::TryFutureExt as _;
use http::{Request, Response};
use tonic::{Code, Status, body::Body};
use tower::service_fn;

use super::{Inner, call::Name};
use crate::{connection::RequestBody, error, routes::Routes};

/// Routes whose statuses all have reasons.
pub(super) fn around(routes: Routes) -> impl Inner<Body = Body> {
    let routes = Arc::new(routes);
    service_fn(move |request: Request<RequestBody>| {
        let name = Name::of(&request);
        routes.call(request).map_ok(move |response| with_reason(name.method(), response))
    })
}

fn with_reason(method: &str, response: Response<Body>) -> Response<Body> {
    // Not `Status::from_header_map`: every response with posts would pay for the parsing.
    if !response.headers().contains_key(Status::GRPC_STATUS)
        || response.headers().contains_key(Status::GRPC_STATUS_DETAILS)
    {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match (status.code(), status.message()) {
        // That is how generated code says it.
        (Code::Unimplemented, "") => error::unknown_method(method).into_http(),
        _ => error::of_request_message(&status).into_http(),
    }
}
