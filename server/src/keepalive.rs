//! How long connections live and how often peers may ping: the parameters of grpc-go's package `keepalive`, under its
//! names, with its meanings and its defaults.

use std::time::Duration;

use clap::Args;
use quartet_client::command::at_least_a_second;

/// The heading of these flags.
const CONNECTIONS: &str = "Connections";

/// When the server ends connections, and how it finds dead ones (`keepalive.ServerParameters`).
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = CONNECTIONS)]
pub struct ServerParameters {
    /// End a connection that had no open stream for this long (GOAWAY). Without it, never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub max_connection_idle: Option<Duration>,

    /// End a connection of this age, give or take a tenth (GOAWAY): it takes no new calls. Without it, never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub max_connection_age: Option<Duration>,

    /// How long open streams may go on after that. Then feeds and lists are ended resumable, and the connection is
    /// closed. Without it, for as long as they like.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "max_connection_age")]
    pub max_connection_age_grace: Option<Duration>,

    /// Ping a client that was silent for this long.
    #[arg(id = "keepalive_time", long = "keepalive-time", value_name = "DURATION", default_value = "2h", value_parser = at_least_a_second)]
    pub time: Duration,

    /// Close the connection if nothing comes for this long after a ping.
    #[arg(id = "keepalive_timeout", long = "keepalive-timeout", value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

impl Default for ServerParameters {
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

/// How often clients may ping (`keepalive.EnforcementPolicy`). Who pings too often for the third time gets GOAWAY
/// ENHANCE_YOUR_CALM, `too_many_pings`.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = CONNECTIONS)]
pub struct EnforcementPolicy {
    /// The least time between two pings of a client that sends and receives nothing else.
    #[arg(id = "keepalive_min_time", long = "keepalive-min-time", value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub min_time: Duration,

    /// Let clients without open streams ping just as often; else they may once in two hours.
    #[arg(id = "keepalive_permit_without_stream", long = "keepalive-permit-without-stream")]
    pub permit_without_stream: bool,
}

impl Default for EnforcementPolicy {
    fn default() -> Self {
        Self { min_time: Duration::from_secs(5 * 60), permit_without_stream: false }
    }
}
