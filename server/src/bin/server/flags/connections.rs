//! The flags of connections and calls.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use quartet_connection::keepalive::{EnforcementPolicy, ServerParameters};
use quartet_server::layers::limits::CallLimits;
use quartet_wire::host_port::socket_address;

use super::at_least_one::at_least_one;

/// The heading of these flags.
const CONNECTIONS: &str = "Connections";

/// The address that a server listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// On an IP address and port.
    Tcp(SocketAddr),
    /// On a unix socket at a path.
    Unix(PathBuf),
}

/// `ADDRESS:PORT` or `unix:PATH`.
impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix: needs a path".to_owned()),
            Some(path) => Ok(Listen::Unix(path.into())),
            None => socket_address(text)
                .map(Listen::Tcp)
                .map_err(|problem| not_an_address(text, &problem.to_string())),
        }
    }
}

/// What to write instead. A name is not resolved: it may have several addresses, or one that the
/// whole network can reach.
fn not_an_address(text: &str, problem: &str) -> String {
    let port = text.strip_prefix("localhost:").filter(|port| port.parse::<u16>().is_ok());
    match port {
        Some(port) => {
            format!("it must be an IP address: localhost is 127.0.0.1:{port} or [::1]:{port}")
        }
        None => format!(
            "{problem}; it must be an IP address and a port, such as 127.0.0.1:9001, or unix:PATH"
        ),
    }
}

/// The flags of [`ServerParameters`].
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = CONNECTIONS)]
pub(crate) struct KeepaliveFlags {
    /// Close a connection that had no open stream for this long (GOAWAY). Default: never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) max_connection_idle: Option<Duration>,

    /// Stop new calls on a connection of this age, plus or minus a tenth (GOAWAY). Default: never.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) max_connection_age: Option<Duration>,

    /// How long open streams may go on after that. Then feeds and lists end so that clients can
    /// resume them, and the connection is closed. Default: no limit.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        requires = "max_connection_age"
    )]
    pub(crate) max_connection_age_grace: Option<Duration>,

    /// Ping a client that sent nothing for this long.
    #[arg(
        id = "keepalive_time",
        long = "keepalive-time",
        value_name = "DURATION",
        default_value = "2h",
        value_parser = at_least_a_second
    )]
    pub(crate) time: Duration,

    /// Close the connection if nothing arrives for this long after a ping.
    #[arg(
        id = "keepalive_timeout",
        long = "keepalive-timeout",
        value_name = "DURATION",
        default_value = "20s",
        value_parser = humantime::parse_duration
    )]
    pub(crate) timeout: Duration,
}

impl From<KeepaliveFlags> for ServerParameters {
    fn from(flags: KeepaliveFlags) -> Self {
        let KeepaliveFlags {
            max_connection_idle,
            max_connection_age,
            max_connection_age_grace,
            time,
            timeout,
        } = flags;
        Self { max_connection_idle, max_connection_age, max_connection_age_grace, time, timeout }
    }
}

/// The flags of [`EnforcementPolicy`].
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = CONNECTIONS)]
pub(crate) struct EnforcementFlags {
    /// The minimum time between two pings of a client that exchanges nothing else.
    #[arg(
        id = "keepalive_min_time",
        long = "keepalive-min-time",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = humantime::parse_duration
    )]
    pub(crate) min_time: Duration,

    /// Let clients without open streams ping as often as others. Otherwise they may ping once in
    /// two hours.
    #[arg(id = "keepalive_permit_without_stream", long = "keepalive-permit-without-stream")]
    pub(crate) permit_without_stream: bool,
}

impl From<EnforcementFlags> for EnforcementPolicy {
    fn from(flags: EnforcementFlags) -> Self {
        let EnforcementFlags { min_time, permit_without_stream } = flags;
        Self { min_time, permit_without_stream }
    }
}

/// The flags of [`CallLimits`].
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Calls")]
pub(crate) struct CallFlags {
    /// Calls that a user may begin per second, also as a burst. Unauthenticated callers count by
    /// their address. Default: no limit.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU32>)]
    pub(crate) max_calls_per_second: Option<NonZeroU32>,

    /// Calls that a user may have open at once; a stream counts until it ends. Unauthenticated
    /// callers count by their address. Default: no limit.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU32>)]
    pub(crate) max_open_calls: Option<NonZeroU32>,
}

impl From<CallFlags> for CallLimits {
    fn from(flags: CallFlags) -> Self {
        let CallFlags { max_calls_per_second, max_open_calls } = flags;
        Self { max_calls_per_second, max_open_calls }
    }
}

/// Parses the time of a keepalive flag.
fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_listens_on_an_ip_address_or_a_unix_socket() {
        let tcp = Listen::Tcp(([127, 0, 0, 1], 0).into());
        for (text, listen) in [
            ("127.0.0.1:0", Some(tcp)),
            ("[::1]:9001", Some(Listen::Tcp("[::1]:9001".parse().unwrap()))),
            ("unix:/run/quartet", Some(Listen::Unix("/run/quartet".into()))),
            ("unix:relative", Some(Listen::Unix("relative".into()))),
            ("unix:", None),
            ("localhost:9001", None),
            ("/run/quartet", None),
        ] {
            assert_eq!(text.parse().ok(), listen, "{text}");
        }
    }
}
