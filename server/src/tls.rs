//! TLS: who is at the other end, and nobody in between.
//!
//! The handshake runs inside the connection's own task, under the limits of unfinished connections
//! ([`connection`](crate::connection)). Peers must choose HTTP/2 by ALPN, as gRPC has it. With a client CA a peer without
//! a certificate of it does not get in; whom the certificate names is the [`Caller`] of its calls.
//!
//! Sessions are not resumed: a resumed one would not show its certificate again, and might be older than the CA in
//! force. gRPC connections are few and long, so that a full handshake costs little.
//!
//! Not here: what a caller may do ([`auth`](crate::auth)).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use clap::Args;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{NoServerSessionStorage, WebPkiClientVerifier},
    },
    server::TlsStream,
};

use crate::{
    auth::Caller,
    reload::{FileError, Reloaded},
};
use peeked::Peeked;

mod peeked;

/// What gRPC speaks, as ALPN names it.
const H2: &[u8] = b"h2";
/// What is read, and not looked at, of a peer that is refused.
const DISCARDED: u64 = 64 * 1024;
/// The first byte of every TLS connection: the type of a handshake record.
pub(crate) const HANDSHAKE_RECORD: u8 = 0x16;

/// The flags.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Encryption")]
pub struct TlsFlags {
    /// Speak TLS, with this certificate and those that lead to its CA (PEM).
    ///
    /// It is read again when it changes and on SIGHUP, as are the key and the client CA. Open streams go on.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Let in only who has a certificate of this CA (PEM): mutual TLS.
    ///
    /// A name `quartet:user:ID` in the certificate says who calls, names `quartet:scope:SCOPE` what they may do.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
}

/// TLS as a server speaks it. Clones share it.
#[derive(Debug, Clone)]
pub struct Tls(Reloaded<ServerConfig>);

/// A connection that is encrypted.
pub(crate) type Encrypted<IO> = TlsStream<Peeked<IO>>;

impl Tls {
    /// TLS as the flags have it; `None` without them.
    ///
    /// # Errors
    /// The file that cannot be read or used.
    pub fn open(flags: &TlsFlags) -> Result<Option<Self>, FileError> {
        let (Some(cert), Some(key)) = (&flags.tls_cert, &flags.tls_key) else { return Ok(None) };
        let files: Vec<PathBuf> =
            [cert, key].into_iter().chain(&flags.client_ca).cloned().collect();
        let names = files.clone();
        let make = move |contents: &[Vec<u8>]| server_config(&names, contents);
        Reloaded::open("the certificates", files, make).map(Self).map(Some)
    }

    /// For whoever has it reloaded.
    pub(crate) fn reloaded(&self) -> &Reloaded<ServerConfig> {
        &self.0
    }

    // ANCHOR: accept
    /// The handshake, and whom the peer's certificate names. What cannot be let in is told why, as far as it can be.
    ///
    /// # Errors
    /// Why there is no connection. Dropping the future closes it.
    pub(crate) async fn accept<IO>(&self, io: IO) -> io::Result<(Encrypted<IO>, Option<Caller>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut io = Peeked::new(io);
        if io.first().await? != HANDSHAKE_RECORD {
            return Err(refuse(io, "this port speaks TLS: use https://").await);
        }
        let io = match TlsAcceptor::from(self.0.get()).accept(io).into_fallible().await {
            Ok(io) => io,
            Err((error, io)) => {
                hang_up(io).await; // the peer has been sent an alert
                return Err(error);
            }
        };
        let connection = io.get_ref().1;
        if connection.alpn_protocol() != Some(H2) {
            return Err(refuse(io, "this server speaks HTTP/2 only: ALPN must name h2").await);
        }
        let caller = connection.peer_certificates().and_then(|chain| named_by(chain.first()?));
        Ok((io, caller))
    }
    // ANCHOR_END: accept
}

/// Whom a certificate names, among its subject alternative names.
fn named_by(certificate: &CertificateDer<'_>) -> Option<Caller> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    Caller::of_names(certificate.valid_uri_names())
}

/// Tells a peer that speaks HTTP/2 in a place where it cannot be had, in a GOAWAY; returns the same as an error.
async fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin, why: &'static str) -> io::Error {
    tracing::info!(why, "a peer is refused");
    // If it does not hear it, it is gone, and that is what it should be.
    let _ = io.write_all(&goaway(why)).await;
    hang_up(io).await;
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

/// Closes a connection once its peer does: to close at once, with input unread, would make TCP throw away what the peer
/// has not received yet.
async fn hang_up(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let parting = async {
        io.shutdown().await?;
        tokio::io::copy(&mut (&mut io).take(DISCARDED), &mut tokio::io::sink()).await
    };
    let _ = parting.await;
}

/// An empty SETTINGS frame, which HTTP/2 begins with, and a GOAWAY with INADEQUATE_SECURITY.
fn goaway(why: &str) -> Bytes {
    const INADEQUATE_SECURITY: u32 = 0xc;
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    bytes.put_uint(8 + why.len() as u64, 3);
    bytes.put_slice(&[7, 0, 0, 0, 0, 0]);
    bytes.put_u32(0); // no stream was looked at: all can be tried again
    bytes.put_u32(INADEQUATE_SECURITY);
    bytes.put_slice(why.as_bytes());
    bytes.freeze()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// From the certificate, its key and perhaps a client CA.
fn server_config(files: &[PathBuf], contents: &[Vec<u8>]) -> Result<ServerConfig, FileError> {
    let (Some((cert, key)), Some((cert_pem, key_pem))) =
        (files.first().zip(files.get(1)), contents.first().zip(contents.get(1)))
    else {
        return Err(FileError::new(Path::new(""), "no certificate and key"));
    };
    let chain = certificates(cert, cert_pem)?;
    let private_key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|error| FileError::new(key, format!("no private key: {error}")))?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::new(cert, error))?;
    let builder = match files.get(2).zip(contents.get(2)) {
        Some((ca, pem)) => {
            let roots = Arc::new(roots(ca, pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = verifier.build().map_err(|error| FileError::new(ca, error))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, private_key)
        .map_err(|error| FileError::new(key, format!("does not fit the certificate: {error}")))?;
    config.alpn_protocols = vec![H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| FileError::new(file, error))?;
    if chain.is_empty() {
        return Err(FileError::new(file, "no certificate"));
    }
    Ok(chain)
}

fn roots(file: &Path, pem: &[u8]) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, pem)? {
        roots.add(certificate).map_err(|error| FileError::new(file, error))?;
    }
    Ok(roots)
}
