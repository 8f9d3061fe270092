//! HTTP/2 keepalive of a client: grpc-go's package `keepalive`, under its names.

use std::time::Duration;

/// How a client detects dead connections: grpc-go's `keepalive.ClientParameters`.
///
/// Servers limit how often a client may ping. grpc-go's servers, and Quartet's, by default close a
/// connection whose client pings more than once in five minutes while it does nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientParameters {
    /// Send a ping after the server was silent for this long. `None`, the default, sends none: a
    /// dead link is then detected when TCP gives up, which may take a quarter of an hour.
    pub time: Option<Duration>,
    /// Close the connection if nothing arrives for this long after a ping. Default: 20 s.
    pub timeout: Duration,
    /// Also ping while no call is open. Default: no.
    pub permit_without_stream: bool,
}

impl Default for ClientParameters {
    fn default() -> Self {
        Self { time: None, timeout: Duration::from_secs(20), permit_without_stream: false }
    }
}
