//! gRPC's wire format on HTTP/2, for clients and servers, independent of any service.
//!
//! - [`framing`]: the five bytes before each message, and a scanner for message boundaries.
//! - [`messages`]: reads the messages of a body without copying them.
//! - [`compression`]: compressed messages, for both sides.
//! - [`timeout`]: the header `grpc-timeout`.
//! - [`code`]: the names of status codes.
//! - [`host_port`]: hosts and ports as people write them, for both sides.
//! - [`pem`]: why a certificate or a key cannot be used, for both sides.
//! - [`unindexed`]: keeps header values out of HPACK's table.
//!
//! ```
//! use std::time::Duration;
//!
//! assert_eq!(quartet_wire::timeout::parse("1500m"), Some(Duration::from_millis(1500)));
//! assert_eq!(quartet_wire::framing::prefix(3), [0, 0, 0, 0, 3]);
//! ```

pub mod code;
pub mod compression;
pub mod framing;
pub mod host_port;
pub mod messages;
pub mod pem;
pub mod timeout;

use http::HeaderValue;

/// Keeps a header value out of HPACK's dynamic table, where a value that differs in every request
/// would only evict others (a never-indexed literal, RFC 7541, section 7.1.3).
pub fn unindexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
