//! From a target to a channel, and what its connections are made with.

use std::time::Duration;

use http::uri::{Authority, Scheme};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;

use crate::{
    Channel, Error,
    channel::Builder,
    target::{InvalidTarget, Target},
    tls::{Tls, TlsFlags},
};

/// Where the clients look for a server unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:9001";

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
    /// A channel to `target` that pings like this and is encrypted like that; otherwise as [`connect`] has it.
    ///
    /// # Errors
    /// As for [`connect`].
    pub fn connect(&self, target: &str, tls: &TlsFlags) -> Result<Channel, Error> {
        Ok(builder(target, tls)?.keepalive(*self).build())
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

/// A channel to `target`. It connects when it is first used, and again whenever the connection is gone.
///
/// `target` is `http://HOST:PORT`, `https://HOST:PORT`, `unix:PATH` or one of the others that [`target`](crate::target) lists. Call it within a tokio
/// runtime.
///
/// # Errors
/// [`Error::Endpoint`] if `target` is none of them, and [`Error::Tls`].
pub fn connect(target: &str) -> Result<Channel, Error> {
    ClientParameters::default().connect(target, &TlsFlags::default())
}

/// The same, for a caller that wants to say more about the channel.
///
/// # Errors
/// As for [`connect`].
pub fn builder(target: &str, flags: &TlsFlags) -> Result<Builder, Error> {
    let target = parse(target)?;
    if !target.is_secure() {
        return match flags.is_any() {
            true => {
                Err(Error::Tls("--ca, --cert, --key and --server-name need https://".to_owned()))
            }
            false => Ok(Channel::builder(target)),
        };
    }
    let tls = Tls::new(target.authority().host(), flags).map_err(Error::Tls)?;
    Ok(Channel::builder(target).tls(tls))
}

/// The target of [`connect`], for a caller that wants to say more about the channel.
///
/// # Errors
/// [`Error::Endpoint`] if `target` is not one that this client can connect to.
pub fn parse(target: &str) -> Result<Target, Error> {
    target.parse().map_err(|problem: InvalidTarget| Error::Endpoint {
        url: target.into(),
        problem: problem.to_string(),
    })
}

/// What a connection is made with, wherever it leads.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    pub(crate) stream_window: u32,
    keepalive: ClientParameters,
}

/// What every request says about where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl Settings {
    pub(crate) fn of(target: &Target, keepalive: ClientParameters) -> Self {
        let origin =
            Origin { scheme: target.scheme().clone(), authority: target.authority().clone() };
        Self { origin, stream_window: STREAM_WINDOW, keepalive }
    }

    /// HTTP/2 as these settings have it.
    pub(crate) fn http2<E: Clone>(&self, executor: E) -> http2::Builder<E> {
        let mut builder = http2::Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .max_header_list_size(HEADER_BYTES);
        if let Some(time) = self.keepalive.time {
            builder
                .keep_alive_interval(time)
                .keep_alive_timeout(self.keepalive.timeout)
                .keep_alive_while_idle(self.keepalive.permit_without_stream);
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_work_is_refused_with_a_reason() {
        for (url, problem) in
            [("", "not a URL"), ("http://", "not a URL"), ("ftp://localhost", "must start with")]
        {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }

    #[test]
    fn http_and_unix_sockets_are_accepted() {
        for url in [DEFAULT_ENDPOINT, "https://[::1]:9001", "unix:/run/quartet.sock"] {
            assert!(parse(url).is_ok(), "{url}");
        }
    }
}
