//! Who is at the other end of a connection.

use std::net::SocketAddr;

use http::Extensions;

use crate::auth::Caller;

/// What is known of the peer of a connection. Every request carries one.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Where it is, if that can be told: a pipe in memory has no address.
    pub address: Option<SocketAddr>,
    /// Whom its certificate names, if it has shown one that names anybody.
    pub certified: Option<Caller>,
}

impl Peer {
    /// The one that came with a request, among its extensions.
    pub fn of(request: &Extensions) -> Self {
        request.get::<Peer>().cloned().unwrap_or_default()
    }
}
