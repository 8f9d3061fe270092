//! From the URL of a server to a channel.

use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::Endpoint;
use tower::service_fn;

use crate::{
    Error,
    dial::{Address, Dialer},
    tls::{Tls, TlsFlags},
};

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

/// How a client finds out that its connection is dead: grpc-go's `keepalive.ClientParameters`, under its names.
///
/// Servers allow pings only so often: grpc-go's, and ours, end the connection of a client that pings more than once in
/// five minutes and does nothing else.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Keepalive")]
pub struct ClientParameters {
    /// Ping a server that was silent for this long; without it, never
    ///
    /// A dead link is then noticed when TCP gives up, which may take a quarter of an hour.
    #[arg(id = "keepalive_time", long = "keepalive-time", value_name = "DURATION", value_parser = at_least_a_second)]
    pub time: Option<Duration>,
    /// Give the connection up if nothing comes for this long after a ping
    #[arg(id = "keepalive_timeout", long = "keepalive-timeout", value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Ping also when no call is open
    #[arg(id = "keepalive_permit_without_stream", long = "keepalive-permit-without-stream")]
    pub permit_without_stream: bool,
}

impl Default for ClientParameters {
    fn default() -> Self {
        Self { time: None, timeout: Duration::from_secs(20), permit_without_stream: false }
    }
}

impl ClientParameters {
    /// A channel to `url` that pings like this and is encrypted like that; otherwise as [`connect`] has it.
    ///
    /// # Errors
    /// As for [`connect`].
    pub fn connect(&self, url: &str, tls: &TlsFlags) -> Result<crate::Channel, Error> {
        let endpoint = self.apply(endpoint(url)?);
        let (dialer, address) = dialer(url, endpoint.uri(), tls)?;
        let is_secure = dialer.tls.is_some() || matches!(address, Address::Unix(_));
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let (dialer, address) = (dialer.clone(), address.clone());
            async move { dialer.dial(&address).await.map(TokioIo::new) }
        }));
        Ok(if is_secure { crate::Channel::secure(channel) } else { channel.into() })
    }

    /// The same for a caller that brings its own connector.
    pub fn apply(&self, endpoint: Endpoint) -> Endpoint {
        let Some(time) = self.time else { return endpoint };
        endpoint
            .http2_keep_alive_interval(time)
            .keep_alive_timeout(self.timeout)
            .keep_alive_while_idle(self.permit_without_stream)
    }
}

/// The time of a keepalive flag. grpc-go raises a shorter one silently, to ten seconds in its clients.
///
/// # Errors
/// What is wrong with it.
pub fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}

/// A channel to `url`. It connects when it is first used, and again whenever the connection is gone.
///
/// `url` is `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. Call it within a tokio runtime.
///
/// # Errors
/// [`Error::Endpoint`] if `url` is neither, and [`Error::Tls`].
pub fn connect(url: &str) -> Result<crate::Channel, Error> {
    ClientParameters::default().connect(url, &TlsFlags::default())
}

/// How connections to `url` are opened, and where.
fn dialer(url: &str, uri: &Uri, flags: &TlsFlags) -> Result<(Dialer, Address), Error> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok((Dialer::default(), Address::Unix(path.into())));
    }
    let host = uri.host().unwrap_or_default();
    let is_tls = uri.scheme_str() == Some("https");
    if !is_tls && flags.is_any() {
        return Err(Error::Tls("--ca, --cert, --key and --server-name need https://".to_owned()));
    }
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tls = is_tls.then(|| Tls::new(host, flags)).transpose().map_err(Error::Tls)?;
    Ok((Dialer { tls }, Address::Name(format!("{host}:{port}"))))
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
        Some("http" | "https") => {}
        _ => return Err(refuse("it must start with http://, https:// or unix:")),
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
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
        ] {
            let error = endpoint(url).unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }

    #[test]
    fn http_and_unix_sockets_are_accepted() {
        for url in [DEFAULT_ENDPOINT, "https://[::1]:9001", "unix:/run/quartet.sock"] {
            assert!(endpoint(url).is_ok(), "{url}");
        }
    }
}
