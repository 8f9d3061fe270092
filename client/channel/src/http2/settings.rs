//! Settings of HTTP/2 that all connections of a channel share.

use h2::client;
use http::uri::{Authority, Scheme};

use super::keepalive::Keepalive;
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

/// Bytes of a request that h2 keeps for a connection that does not take them.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// Settings of the connections of a channel.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) origin: Origin,
    /// Flow-control window of a stream, in bytes.
    pub(crate) stream_window: u32,
    pub(super) keepalive: Keepalive,
}

/// The scheme and authority of every request.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl Settings {
    /// The default settings for a target.
    pub(crate) fn new(target: &Target, scheme: Scheme, keepalive: ClientParameters) -> Self {
        let origin = Origin { scheme, authority: target.authority().clone() };
        Self { origin, stream_window: STREAM_WINDOW, keepalive: Keepalive::new(keepalive) }
    }

    /// h2's builder with these settings.
    pub(super) fn builder(&self) -> client::Builder {
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .max_header_list_size(HEADER_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .enable_push(false);
        builder
    }
}
