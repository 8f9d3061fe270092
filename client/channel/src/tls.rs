//! TLS of a client: which servers it trusts, and the certificate that it presents.
//!
//! The feature `tls`, on by default, brings rustls. Without it, [`Tls`] refuses every target.

pub use settings::TlsSettings;

mod settings;

#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "tls")]
mod trust;
#[cfg(feature = "tls")]
mod words;
#[cfg(feature = "tls")]
pub(crate) use handshake::Encrypted;
#[cfg(feature = "tls")]
pub use handshake::Tls;

#[cfg(not(feature = "tls"))]
mod missing;
#[cfg(not(feature = "tls"))]
pub(crate) use missing::Encrypted;
#[cfg(not(feature = "tls"))]
pub use missing::Tls;
