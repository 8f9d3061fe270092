//! The judge of response heads.
//!
//! A proxy, a load balancer or a web server may answer in place of the gRPC server. Its answer is
//! given a status here, by gRPC's documents, and its body is never read as messages.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body as _;

use super::{
    body::GrpcBody,
    status::{DETAILS, code_of, drop_broken_details},
};
use crate::{cause::Cause, http2::Incoming};

/// The encodings that a request offers to read.
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The encoding of compressed messages.
const GRPC_ENCODING: &str = "grpc-encoding";
/// The headers of a status, with its message and details.
const STATUS: [&str; 3] = ["grpc-status", "grpc-message", DETAILS];

/// Passes on the response of a gRPC server. A status in its head then ends the response.
///
/// `offered` is the request's [`GRPC_ACCEPT_ENCODING`].
///
/// # Errors
/// - [`Cause::NotGrpc`] for an HTTP status other than 200 or a content type other than gRPC's,
///   unless the head ends the response with a `grpc-status` (gRPC's documents
///   http-grpc-status-mapping and PROTOCOL-HTTP2).
/// - [`Cause::NoStatus`] for a gRPC head that ends the response without one.
/// - [`Cause::Compression`] for an encoding that was not offered (document compression).
pub(crate) fn judge(
    response: Response<Incoming>,
    offered: Option<&HeaderValue>,
) -> Result<Response<GrpcBody>, Cause> {
    let (mut head, incoming) = response.into_parts();
    let is_end = incoming.is_end_stream();
    if is_end && code_of(&head.headers).is_some() {
        drop_broken_details(&mut head.headers);
        return Ok(Response::from_parts(head, GrpcBody::ended(incoming)));
    }
    if head.status != StatusCode::OK || !is_grpc(&head.headers) {
        return Err(not_grpc(head.status, &head.headers));
    }
    if is_end {
        return Err(Cause::NoStatus);
    }
    // A status belongs to the end of a response. This one goes on, and its end counts.
    for name in STATUS {
        head.headers.remove(name);
    }
    let is_compressed = is_compressed(&head.headers, offered)?;
    Ok(Response::from_parts(head, GrpcBody::new(incoming, is_compressed)))
}

/// Whether the content type is `application/grpc`, alone or with a `+` or `;` after it.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

fn not_grpc(status: StatusCode, headers: &HeaderMap) -> Cause {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default()).into_owned();
    Cause::NotGrpc(status, content_type)
}

/// Whether messages may be compressed.
fn is_compressed(headers: &HeaderMap, offered: Option<&HeaderValue>) -> Result<bool, Cause> {
    let Some(encoding) = headers.get(GRPC_ENCODING) else { return Ok(false) };
    let offered = offered.and_then(|offered| offered.to_str().ok()).unwrap_or_default();
    let mut offered_encodings = offered.split(',').map(|name| name.trim().as_bytes());
    match encoding.as_bytes() {
        b"identity" => Ok(false),
        encoding if offered_encodings.any(|name| name == encoding) => Ok(true),
        other => Err(Cause::Compression(format!(
            "the response is compressed with {:?}, which the request did not offer to read",
            String::from_utf8_lossy(other),
        ))),
    }
}
