//! How connections behave: every limit, with its default and the reason for it.

use std::time::Duration;

use quartet_runtime::{cores::Cores, gauge::Gauge};

use crate::{
    keepalive::{EnforcementPolicy, ServerParameters},
    statuses::Statuses,
    tls::Tls,
};

/// How the connections of a listener behave. Clones share what is counted and reloaded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How connections are encrypted; `None` for plaintext, the default.
    pub tls: Option<Tls>,
    /// When connections end, and how dead ones are found.
    pub keepalive: ServerParameters,
    /// How often peers may ping.
    pub enforcement: EnforcementPolicy,
    /// What peers may send besides requests.
    pub frame_budget: FrameBudget,
    /// What a peer that breaks one of these rules is given to read its GOAWAY.
    pub linger: Linger,
    /// Whether every frame is traced, at [`FRAMES`](crate::guard::frames::FRAMES) and DEBUG.
    pub trace_frames: bool,
    /// The parameters of HTTP/2.
    pub http2: Http2,
    /// Open connections; one more is closed at once. 10,000: a quarter of the file descriptors that
    /// a service often gets.
    pub max_connections: usize,
    /// Connections whose handshake has not finished. 1,024: a few bursts of clients that come back
    /// after a restart.
    pub max_unfinished: usize,
    /// The same from one IP address. 64, so that one host cannot take all of them.
    pub max_unfinished_per_address: usize,
    /// The time for TLS, HTTP/2's preface and SETTINGS together. 10 s.
    pub handshake_timeout: Duration,
    /// How long streams may take to end when the server stops; then they are cut. 10 s.
    pub drain_timeout: Duration,
    /// How long a peer may grant no flow-control window to a response that waits for it, and a
    /// connection may take none of what is to be written. 30 s: a network that recovers does so
    /// before, and what is stalled holds memory.
    pub stall_timeout: Duration,
    /// The time for the last messages of streams that were told to end: by the age of their
    /// connection, or when the drain timeout is over. 1 s.
    pub last_words: Duration,
    /// How long a peer may go on opening streams after a GOAWAY, which may cross them on the way.
    /// 5 s, as in grpc-go.
    pub goaway_timeout: Duration,
    /// The pause after an accept that failed, so that a lack of file descriptors does not become a
    /// busy loop: doubled each time, as in grpc-go. 5 ms.
    pub accept_pause: Duration,
    /// The longest such pause. 1 s.
    pub longest_accept_pause: Duration,
    /// Bytes of small writes that are gathered for one system call. 64 KiB: about one batch of a
    /// stream; a larger write is not copied.
    pub write_buffer_bytes: usize,
    /// The statuses of calls that the connection itself ends.
    pub statuses: Statuses,
    /// Counts what is open.
    pub gauges: ConnectionGauges,
    /// The threads over which connections are spread. Default: the runtime that calls
    /// [`serve`](crate::serve).
    pub cores: Cores,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tls: None,
            keepalive: ServerParameters::default(),
            enforcement: EnforcementPolicy::default(),
            frame_budget: FrameBudget::default(),
            linger: Linger::default(),
            trace_frames: false,
            http2: Http2::default(),
            max_connections: 10_000,
            max_unfinished: 1024,
            max_unfinished_per_address: 64,
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            last_words: Duration::from_secs(1),
            goaway_timeout: Duration::from_secs(5),
            accept_pause: Duration::from_millis(5),
            longest_accept_pause: Duration::from_secs(1),
            write_buffer_bytes: 64 * 1024,
            statuses: Statuses::default(),
            gauges: ConnectionGauges::default(),
            cores: Cores::default(),
        }
    }
}

/// Parameters of HTTP/2, and limits of the h2 crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2 {
    /// Streams that one connection may have open: gRPC clients queue beyond it. 256.
    pub max_streams: u32,
    /// Streams that were reset before the server accepted them, before the connection ends. 20,
    /// h2's default, which tonic removes.
    pub max_pending_resets: usize,
    /// Streams that the server had to reset, before the connection ends. 1,024, as above.
    pub max_local_resets: usize,
    /// Bytes of the headers of a request. 16 KiB.
    pub max_header_list_bytes: u32,
    /// Bytes that a stream may send before they are read. 256 KiB, and not more, because h2 ends a
    /// connection on which too many small frames wait to be read.
    pub stream_window: u32,
    /// Bytes that a connection may send before they are read. 8 MiB: larger than a stream's, so
    /// that one stream that is not read does not stop the others.
    pub connection_window: u32,
    /// The largest frame that a peer may send. 64 KiB: an upload in HTTP/2's own 16 KiB is read in
    /// four times as many pieces, with a system call or two for each.
    pub max_frame_bytes: u32,
    /// Bytes that are buffered for a stream whose connection is slow. 128 KiB: about one batch.
    pub send_buffer_bytes: usize,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_streams: 256,
            max_pending_resets: 20,
            max_local_resets: 1024,
            max_header_list_bytes: 16 * 1024,
            stream_window: 256 * 1024,
            connection_window: 8 * 1024 * 1024,
            max_frame_bytes: 64 * 1024,
            send_buffer_bytes: 128 * 1024,
        }
    }
}

/// How many frames a peer may send that cost the server something and the peer nothing.
///
/// What the server answers refills the budget, so an honest client never comes near its end, and a
/// flood reaches it within a few hundred frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBudget {
    /// Pings that come too soon and are forgiven. 2, as in grpc-go.
    pub ping_strikes: u32,
    /// The least time between two pings of a client without streams, unless it is permitted to ping
    /// without one. Two hours, as in grpc-go.
    pub ping_without_stream: Duration,
    /// Frames that ask for work and give none. 400.
    pub frames: u32,
    /// What the budget gains per second. 100.
    pub refill_per_second: u32,
    /// What a SETTINGS frame costs, because new settings may touch every stream. 10.
    pub settings_cost: u32,
    /// WINDOW_UPDATE frames that a client may send before it has received anything; the same refill
    /// per second applies. 200.
    pub window_updates: u32,
    /// How many more for each HEADERS or DATA frame that the client is sent, beside one for each
    /// KiB of data. 4: clients grant window for every message that they wait for, also where the
    /// answer turns out to have none.
    pub window_updates_per_frame: u32,
    /// How many a client may save up. 2,000: as many as one needs that reads late and grants window
    /// for every frame.
    pub max_window_updates: u32,
}

impl Default for FrameBudget {
    fn default() -> Self {
        Self {
            ping_strikes: 2,
            ping_without_stream: Duration::from_secs(2 * 60 * 60),
            frames: 400,
            refill_per_second: 100,
            settings_cost: 10,
            window_updates: 200,
            window_updates_per_frame: 4,
            max_window_updates: 2000,
        }
    }
}

/// How long a connection stays after its last GOAWAY: to close at once, with input unread, would
/// make TCP discard what the peer has not received yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linger {
    /// At most this time. 1 s.
    pub time: Duration,
    /// At most so many bytes of input, which are discarded. 1 MiB.
    pub bytes: usize,
}

impl Default for Linger {
    fn default() -> Self {
        Self { time: Duration::from_secs(1), bytes: 1024 * 1024 }
    }
}

/// Counts of what is open now. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ConnectionGauges {
    /// Connections, also those whose handshake has not finished.
    pub connections: Gauge,
    /// Streams, from their first frame to their last.
    pub streams: Gauge,
}
