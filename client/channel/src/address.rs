//! Addresses of servers, as resolvers find them and dialers connect to them.

use std::{fmt, net::SocketAddr, path::PathBuf};

use quartet_wire::host_port::{HostPort, InvalidHostPort, redacted};

/// The address of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A name that is left to the dialer, usually `HOST:PORT`: the target was `passthrough:`.
    Name(String),
}

impl Address {
    /// Parses a line of an address file: `IP:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// What is wrong with the line, as text for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let problem = |problem| format!("{:?}: {problem}", redacted(text));
        let server = text.parse().map_err(|error: InvalidHostPort| problem(error.to_string()))?;
        Self::listed(&server).map_err(problem)
    }

    /// An IP address and a port, as lists of addresses have them.
    ///
    /// # Errors
    /// What is missing, as text for people.
    pub(crate) fn listed(server: &HostPort) -> Result<Self, String> {
        let Some(port) = server.port else { return Err(format!("{} has no port", server.host)) };
        match server.host.socket_address(port) {
            Some(address) => Ok(Self::Tcp(address.map_err(|error| error.to_string())?)),
            None => Err(format!("{} is not an IP address", server.host)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The server that answered a call. Every response of a [`Channel`](crate::Channel) carries it as
/// an extension.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServedBy(pub Address);
