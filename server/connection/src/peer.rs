//! The other end of a connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::Extensions;

/// What is known of the peer of a connection: an extension of every request.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Where it is.
    pub address: PeerAddress,
    /// The URI names of its certificate, if it has shown one of the client CA. Who they stand for
    /// is for the service to say.
    pub certificate_names: Option<Arc<[String]>>,
}

impl Peer {
    /// The peer of a request, from its extensions. Without a connection below, as in a unit test,
    /// the default.
    pub fn of(request: &Extensions) -> Self {
        request.get::<Peer>().cloned().unwrap_or_default()
    }
}

/// Where a peer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// In this process, at the other end of a pipe.
    #[default]
    Memory,
    /// At an IP address and port.
    Ip(SocketAddr),
    /// On this machine, at the other end of a unix socket.
    Unix {
        /// The user that its process runs as, if the system says.
        uid: Option<u32>,
    },
}

impl PeerAddress {
    /// The IP address, if it has one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            PeerAddress::Ip(address) => Some(address.ip()),
            PeerAddress::Memory | PeerAddress::Unix { .. } => None,
        }
    }
}

/// As logs have it: `127.0.0.1:4711`, `unix:uid=1000`, `memory`.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Memory => f.write_str("memory"),
            PeerAddress::Ip(address) => address.fmt(f),
            PeerAddress::Unix { uid: None } => f.write_str("unix"),
            PeerAddress::Unix { uid: Some(uid) } => write!(f, "unix:uid={uid}"),
        }
    }
}
