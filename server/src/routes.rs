//! Shorter ways to two methods, past generated code.

use std::convert::Infallible;

use http::{HeaderName, Request, Response};
use quartet_connection::RequestBody;
use tonic::body::Body;
use tower::Service;

pub use quartet_connection::Answer;

pub mod direct;
pub mod whole;

/// The compression of the messages of a request.
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// A service as generated code has it: always ready.
pub trait Generated:
    Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future = Answer>
{
}

impl<S> Generated for S where
    S: Service<
            Request<RequestBody>,
            Response = Response<Body>,
            Error = Infallible,
            Future = Answer,
        >
{
}

/// Whether a call is of the method at this path, and its head names no encoding.
fn is_plain_call_of(path: &str, request: &Request<RequestBody>) -> bool {
    request.uri().path() == path && !request.headers().contains_key(GRPC_ENCODING)
}
