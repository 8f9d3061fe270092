//! TLS: encryption, and the certificate of the peer.
//!
//! The handshake runs inside the connection's own task, under the limits of unfinished connections.
//! Peers must choose HTTP/2 by ALPN, as gRPC has it. With a client CA, a peer without a certificate
//! of that CA is refused; the names of its certificate become part of its [`Peer`](crate::Peer).
//!
//! Sessions are not resumed: a resumed one would not show its certificate again, and might be older
//! than the CA in force. gRPC connections are few and long, so that a full handshake costs little.
//!
//! Not here: who the names stand for, and what they may do.
//!
//! The feature `tls`, on by default, brings rustls. Without it, [`Tls`] refuses every certificate.

pub use pem::{Part, PemError, TlsFiles, TlsPem};
pub(crate) use record::HANDSHAKE_RECORD;

mod pem;
mod record;

#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "tls")]
mod peeked;
#[cfg(feature = "tls")]
mod trust;
#[cfg(feature = "tls")]
mod words;
#[cfg(feature = "tls")]
pub use handshake::Tls;

#[cfg(not(feature = "tls"))]
mod missing;
#[cfg(not(feature = "tls"))]
pub use missing::Tls;
