//! What TLS of a server is made of: PEM, as files or as bytes.

use std::{fmt, path::PathBuf};

/// The files of a server's TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CA of the certificates that clients must have: mutual TLS. `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The same as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsPem<'a> {
    /// The certificate, followed by those that lead to its CA.
    pub certificate: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
    /// The CA of the certificates that clients must have.
    pub client_ca: Option<&'a [u8]>,
}

/// A part of [`TlsPem`] that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {problem}")]
pub struct PemError {
    /// The part.
    pub part: Part,
    /// What is wrong with it. It quotes nothing of its content, which may be secret.
    pub problem: String,
}

/// One of the parts of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The server's certificate.
    Certificate,
    /// Its private key.
    Key,
    /// The CA of clients.
    ClientCa,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Certificate => "the certificate",
            Part::Key => "the private key",
            Part::ClientCa => "the client CA",
        })
    }
}

#[cfg(feature = "tls")]
impl Part {
    pub(super) fn problem(self, problem: impl fmt::Display) -> PemError {
        PemError { part: self, problem: problem.to_string() }
    }
}
