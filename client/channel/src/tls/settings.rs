//! The settings of TLS.

use std::path::PathBuf;

/// Which servers to trust, and which certificate to present. All files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// CA certificates to trust instead of those of the system.
    pub ca: Option<PathBuf>,
    /// The client's certificate, with its chain. Needs [`key`](Self::key).
    pub cert: Option<PathBuf>,
    /// The private key of [`cert`](Self::cert).
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must be for, if it is not the host of the target.
    pub server_name: Option<String>,
}

impl TlsSettings {
    /// Whether any setting differs from the default. Without TLS, none has an effect.
    pub fn is_any_set(&self) -> bool {
        *self != Self::default()
    }
}
