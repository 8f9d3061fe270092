//! The layer that gives each call an id: the header `x-request-id`.

use http::{HeaderName, HeaderValue, Request};
use quartet_wire::unindexed;
use tonic::body::Body;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives a call a random id, unless it has one.
pub(super) fn assign(mut request: Request<Body>) -> Request<Body> {
    let random = || {
        let id = format!("{:016x}", fastrand::u64(..));
        unindexed(HeaderValue::try_from(id).expect("invariant: hex digits are ASCII"))
    };
    request.headers_mut().entry(X_REQUEST_ID).or_insert_with(random);
    request
}
