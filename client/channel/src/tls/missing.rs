//! In place of the handshake in a build without the feature `tls`: no [`Tls`] can be made.

use std::io;

use super::settings::TlsSettings;

const MISSING: &str = "https:// needs the feature `tls` of quartet-channel, which this build lacks";

/// TLS for connections to one server, of which this build, without the feature `tls`, has none.
#[derive(Debug, Clone)]
pub struct Tls(());

/// The type of a connection that never exists.
pub(crate) type Encrypted<IO> = IO;

impl Tls {
    /// Refuses every host.
    ///
    /// # Errors
    /// Always: names the feature.
    pub fn new(_: &str, _: &TlsSettings) -> Result<Self, String> {
        Err(MISSING.to_owned())
    }

    /// Refuses the connection.
    ///
    /// # Errors
    /// Always: names the feature.
    pub async fn connect<IO>(&self, _: IO) -> io::Result<IO> {
        Err(io::Error::other(MISSING))
    }
}
