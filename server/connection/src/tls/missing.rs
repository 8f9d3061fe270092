//! In place of the handshake in a build without the feature `tls`: no [`Tls`] can be made.

use std::{io, sync::Arc};

use super::pem::{Part, PemError, TlsFiles, TlsPem};
use crate::reload::{FileError, Reloaded};

const MISSING: &str = "TLS needs the feature `tls` of quartet-connection, which this build lacks";

/// TLS of a server, of which this build, without the feature `tls`, has none.
#[derive(Debug, Clone)]
pub enum Tls {}

impl Tls {
    /// Refuses the files.
    ///
    /// # Errors
    /// Always: names the feature.
    pub fn from_files(files: TlsFiles) -> Result<Self, FileError> {
        Err(FileError::new(&files.certificate, MISSING))
    }

    /// Refuses the bytes.
    ///
    /// # Errors
    /// Always: names the feature.
    pub fn from_pem(_: TlsPem<'_>) -> Result<Self, PemError> {
        Err(PemError { part: Part::Certificate, problem: MISSING.to_owned() })
    }

    /// What a [`Reloader`](crate::reload::Reloader) reloads.
    pub fn reloaded(&self) -> &Reloaded<()> {
        match *self {}
    }

    pub(crate) async fn accept<IO>(&self, _: IO) -> io::Result<(IO, Option<Arc<[String]>>)> {
        match *self {}
    }
}
