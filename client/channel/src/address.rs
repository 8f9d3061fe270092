//! Addresses of servers, as resolvers find them and dialers connect to them.

use std::{fmt, net::SocketAddr, path::PathBuf};

use quartet_wire::host_port::socket_address;

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
        socket_address(text).map(Self::Tcp)
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
