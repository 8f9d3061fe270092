//! The layer that assigns an id to every call: `x-request-id`.
//!
//! A valid id in the request is kept, so that the caller's log and the server's share it; otherwise
//! a random one is made. The response's headers return it. Ids are neither secret nor unique.

use futures::TryFutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use quartet_connection::layer::Inner;
use quartet_wire::unindexed;
use tower::service_fn;

use crate::call::RequestId;

/// The header, of requests and of responses.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of an id: callers choose it, and every log line of the call carries it.
const LONGEST: usize = 64;

/// Wraps a service so that all its calls have an id.
pub fn around(mut service: impl Inner) -> impl Inner {
    service_fn(move |mut request: http::Request<_>| {
        let id = given(request.headers()).unwrap_or_else(made);
        request.extensions_mut().insert(RequestId(id.clone()));
        service.call(request).map_ok(move |mut response| {
            response.headers_mut().insert(X_REQUEST_ID, unindexed(id));
            response
        })
    })
}

fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(X_REQUEST_ID).filter(|id| is_valid(id.as_bytes())).cloned()
}

/// Whether the id is safe in logs without quoting: letters, digits and four punctuation marks.
fn is_valid(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(plain)
}

fn made() -> HeaderValue {
    HeaderValue::try_from(format!("{:016x}", fastrand::u64(..))).expect("invariant: it is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_log_line_is_replaced() {
        let longest = "x".repeat(LONGEST);
        for good in ["1", "a-B_c.d:9", longest.as_str(), made().to_str().unwrap()] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        let too_long = "x".repeat(LONGEST + 1);
        for bad in ["", "a b", "a\"b", "a=b", "é", "a\tb", too_long.as_str()] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
