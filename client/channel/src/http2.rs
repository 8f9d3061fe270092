//! Settings of HTTP/2 that all connections of a channel share.

use http::uri::{Authority, Scheme};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;

use crate::{keepalive::ClientParameters, target::Target};

/// Flow-control window of a stream, in bytes: enough for 80 MB/s at a round trip of 100 ms.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;
/// Flow-control window of a connection, in bytes. A stream that is not read occupies up to one
/// stream window; with eight times that, the other streams go on. h2 also derives from it how many
/// small unread frames it tolerates before it closes the connection: half of this many bytes.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// Largest frame that the server may send. A batch of 64 KiB then is one frame: one write for the
/// server, one read here.
const FRAME_BYTES: u32 = 256 * 1024;
/// Largest header block. Leaves room for a status with details; h2 ends a stream whose header
/// block is larger with a protocol error.
const HEADER_BYTES: u32 = 64 * 1024;

/// Settings of the connections of a channel.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    /// Flow-control window of a stream, in bytes.
    pub(crate) stream_window: u32,
    keepalive: ClientParameters,
}

/// The scheme and authority of every request.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl Settings {
    /// The default settings for a target.
    pub(crate) fn new(target: &Target, keepalive: ClientParameters) -> Self {
        let origin =
            Origin { scheme: target.scheme().clone(), authority: target.authority().clone() };
        Self { origin, stream_window: STREAM_WINDOW, keepalive }
    }

    /// hyper's builder with these settings.
    pub(crate) fn builder<E: Clone>(&self, executor: E) -> http2::Builder<E> {
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
