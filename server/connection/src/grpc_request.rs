//! Which requests are gRPC requests: what is none is refused before a handler sees it.
//!
//! A browser sends a POST of plain text or a form to any origin without asking first. So this is
//! also what keeps pages elsewhere from calling methods.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use tonic::body::Body;

/// The media type, before an optional `+proto` and parameters.
const GRPC: &str = "application/grpc";

/// The refusal of a request that is not a gRPC request: 405 for another method than POST, 415 for
/// another content type than `application/grpc` or `application/grpc+proto`, by
/// [PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
///
/// It has no `grpc-status`, because its sender does not speak gRPC; a client that does reads
/// UNKNOWN from 405 and 415.
pub(crate) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let mut response = Response::new(Body::empty());
    if request.method() != Method::POST {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    if is_grpc(request.headers()) {
        return None;
    }
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(response)
}

/// Whether there is one content type, and it is gRPC's. Media types have no case (RFC 9110, section
/// 8.3.1).
fn is_grpc(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    // Nearly every client sends just this.
    if value == GRPC {
        return true;
    }
    let Ok(value) = value.to_str() else { return false };
    let media = value.split(';').next().unwrap_or_default().trim_end();
    let Some((kind, suffix)) = media.split_at_checked(GRPC.len()) else { return false };
    kind.eq_ignore_ascii_case(GRPC) && (suffix.is_empty() || suffix.eq_ignore_ascii_case("+proto"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(method: &str, types: &[&str]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("/a.B/C");
        for value in types {
            request = request.header("content-type", *value);
        }
        refuse(&request.body(()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn only_a_post_of_grpc_is_a_grpc_request() {
        for grpc in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC+Proto",
            "application/grpc;charset=utf-8",
            "application/grpc+proto ; a=b",
        ] {
            assert_eq!(refusal("POST", &[grpc]), None, "{grpc}");
            for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "CONNECT", "post"] {
                assert_eq!(refusal(method, &[grpc]), Some(405), "{method}");
            }
        }
        for other in [
            &[][..],
            &["text/plain"],
            &["application/x-www-form-urlencoded"],
            &["application/json"],
            &["application/grp"],
            &["application/grpcx"],
            &["application/grpc+"],
            &["application/grpc+json"],
            &["application/grpc-web"],
            &["application/grpc-web+proto"],
            &["application/grpc, text/plain"],
            &["application/grpc", "text/plain"],
            &[" application/grpc"],
            &["\u{e9}"],
        ] {
            assert_eq!(refusal("POST", other), Some(415), "{other:?}");
        }
    }

    #[test]
    fn a_refusal_of_a_method_names_the_one_that_is_allowed() {
        let request = Request::get("/a.B/C").body(()).unwrap();
        assert_eq!(refuse(&request).unwrap().headers()[ALLOW], "POST");
    }
}
