//! The status in a head or in trailers.

use http::HeaderMap;
use tonic::{Code, Status, metadata::MetadataMap};

/// The details of a status.
pub(super) const DETAILS: &str = "grpc-status-details-bin";

/// The `grpc-status` of a head or of trailers, if there is one.
pub(crate) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// Removes details that are not base64: tonic panics when it reads them.
pub(super) fn drop_broken_details(headers: &mut HeaderMap) {
    if !headers.contains_key(DETAILS) {
        return;
    }
    let metadata = MetadataMap::from_headers(std::mem::take(headers));
    let is_broken = metadata.get_bin(DETAILS).is_some_and(|value| value.to_bytes().is_err());
    *headers = metadata.into_headers();
    if is_broken {
        tracing::warn!("the details of a status are not base64; they are left out");
        headers.remove(DETAILS);
    }
}
