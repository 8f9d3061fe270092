//! From the URL of a server to a channel.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// Where the clients look for a server unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:9001";

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that one stream may have under way: 100 ms of it fill an 80 MB/s link.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes that all streams of a connection may have under way. A stream that nobody reads holds one stream window, and
/// the others must not stop for it. Half of this is also what h2 allows of small unread frames before it ends the
/// connection.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// A batch of 64 KiB in one frame is one write on the server and one read here.
const FRAME_BYTES: u32 = 256 * 1024;
/// Room for a status with details; a status that is larger than this would end its stream as a protocol error.
const HEADER_BYTES: u32 = 64 * 1024;

/// A channel to `url`. It connects when it is first used, and again whenever the connection is gone.
///
/// `url` is `http://HOST:PORT` or `unix:PATH`. Call it within a tokio runtime.
///
/// # Errors
/// [`Error::Endpoint`] if `url` is neither.
pub fn connect(url: &str) -> Result<Channel, Error> {
    Ok(endpoint(url)?.connect_lazy())
}

/// The settings of [`connect`], for a caller that brings its own connector.
///
/// # Errors
/// [`Error::Endpoint`] if `url` is not one that this client can connect to.
pub fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let refuse = |problem: &str| Error::Endpoint { url: url.into(), problem: problem.into() };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| refuse("it is not a URL"))?;
    match endpoint.uri().scheme_str() {
        _ if url.starts_with("unix:") => {}
        Some("http") => {}
        Some("https") => return Err(refuse("TLS is not supported, use http://")),
        _ => return Err(refuse("it must start with http:// or unix:")),
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(HEADER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_work_is_refused_with_a_reason() {
        for (url, problem) in [
            ("", "not a URL"),
            ("http://", "not a URL"),
            ("localhost:9001", "must start with"),
            ("ftp://localhost", "must start with"),
            ("https://localhost", "TLS"),
        ] {
            let error = endpoint(url).unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }

    #[test]
    fn http_and_unix_sockets_are_accepted() {
        for url in [DEFAULT_ENDPOINT, "http://[::1]:9001", "unix:/run/quartet.sock"] {
            assert!(endpoint(url).is_ok(), "{url}");
        }
    }
}
