//! How long connections live and how often peers may ping: the parameters of grpc-go's package
//! `keepalive`, with its names, meanings and defaults.

use std::time::Duration;

/// When the server ends connections, and how it finds dead ones (`keepalive.ServerParameters`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerParameters {
    /// Ends a connection that had no open stream for this long, with a GOAWAY. `None`: never.
    pub max_connection_idle: Option<Duration>,

    /// Ends a connection of this age, give or take a tenth, with a GOAWAY: it takes no new streams.
    /// `None`: never.
    pub max_connection_age: Option<Duration>,

    /// How long open streams may go on after that. Then they are ended by their
    /// [`Stop`](crate::Stop), and the connection is closed. `None`: for any time.
    pub max_connection_age_grace: Option<Duration>,

    /// Pings a client that was silent for this long.
    pub time: Duration,

    /// Closes the connection if nothing arrives for this long after a ping.
    pub timeout: Duration,
}

impl Default for ServerParameters {
    /// No limit of idle time or age; a ping after two hours, which has 20 seconds to be answered.
    fn default() -> Self {
        Self {
            max_connection_idle: None,
            max_connection_age: None,
            max_connection_age_grace: None,
            time: Duration::from_secs(2 * 60 * 60),
            timeout: Duration::from_secs(20),
        }
    }
}

/// How often clients may ping (`keepalive.EnforcementPolicy`). The third ping that comes too soon
/// ends the connection: GOAWAY with ENHANCE_YOUR_CALM and `too_many_pings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnforcementPolicy {
    /// The least time between two pings of a client that sends and receives nothing else.
    pub min_time: Duration,

    /// Whether clients without open streams may ping as often. Otherwise they may once in two
    /// hours.
    pub permit_without_stream: bool,
}

impl Default for EnforcementPolicy {
    /// Five minutes, and only with an open stream.
    fn default() -> Self {
        Self { min_time: Duration::from_secs(5 * 60), permit_without_stream: false }
    }
}
