//! TLS as a client speaks it: who the server must be, and who we are.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, RootCertStore, SignatureScheme,
        client::{ResolvesClientCert, Resumption},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        sign::CertifiedKey,
    },
};

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Encryption (https:// endpoints)")]
pub struct TlsFlags {
    /// Trust servers of this CA (PEM), instead of those that the system trusts
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Show this certificate to the server (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not that of the endpoint
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
}

impl TlsFlags {
    /// Whether any is given: without TLS they mean nothing.
    pub fn is_any(&self) -> bool {
        let Self { ca, cert, key, server_name } = self;
        [ca, cert, key].iter().any(|file| file.is_some()) || server_name.is_some()
    }
}

/// How connections to one server are encrypted.
///
/// The files are read for every connection: a client that runs for long takes up a certificate that was renewed.
#[derive(Debug, Clone)]
pub struct Tls {
    flags: TlsFlags,
    server_name: ServerName<'static>,
}

impl Tls {
    /// For connections to this host, unless the flags name another.
    ///
    /// # Errors
    /// What is wrong with the name or the files, in words.
    pub fn new(host: &str, flags: &TlsFlags) -> Result<Self, String> {
        let name = flags.server_name.as_deref().unwrap_or(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let server_name = ServerName::try_from(bare.to_owned())
            .map_err(|_| format!("{name:?} cannot be the name of a server"))?;
        let tls = Self { flags: flags.clone(), server_name };
        tls.config()?;
        Ok(tls)
    }

    /// The handshake. HTTP/2 is asked for by ALPN, and must be chosen.
    ///
    /// # Errors
    /// Those of the connection, and what one side does not like about the other's certificate. Dropping the future gives up.
    pub async fn connect<IO>(&self, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, identity) = self.config().map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(self.server_name.clone(), io).await.map_err(in_words)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the server speaks TLS, and not HTTP/2"));
        }
        if identity.was_asked_for.load(Ordering::Relaxed) {
            verdict(&mut stream).await?;
        }
        Ok(stream)
    }

    fn config(&self) -> Result<(ClientConfig, Arc<Identity>), String> {
        let roots = match &self.flags.ca {
            Some(file) => roots(file)?,
            None => system_roots(),
        };
        let provider = Arc::new(ring::default_provider());
        let identity = Arc::new(Identity::read(&self.flags, &provider)?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_cert_resolver(identity.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Nothing of one connection is kept for the next.
        config.resumption = Resumption::disabled();
        Ok((config, identity))
    }
}

/// The certificate to show, if there is one.
#[derive(Debug)]
struct Identity {
    certificate: Option<Arc<CertifiedKey>>,
    was_asked_for: AtomicBool,
}

impl Identity {
    fn read(flags: &TlsFlags, provider: &CryptoProvider) -> Result<Self, String> {
        let read = |(cert, key): (&PathBuf, &PathBuf)| {
            let private_key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| problem(key, "no private key", error))?;
            CertifiedKey::from_der(certificates(cert)?, private_key, provider)
                .map_err(|error| problem(key, "it does not fit the certificate", error))
        };
        let certificate = flags.cert.as_ref().zip(flags.key.as_ref()).map(read).transpose()?;
        Ok(Self { certificate: certificate.map(Arc::new), was_asked_for: AtomicBool::new(false) })
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked_for.store(true, Ordering::Relaxed);
        self.certificate.clone()
    }

    fn has_certs(&self) -> bool {
        true // or it would not be told that one is asked for
    }
}

/// How long a server that asks for certificates may take to say more.
const VERDICT: Duration = Duration::from_secs(2);

/// Waits for a server's first words, because what it thinks of a certificate comes after the handshake. A server that
/// speaks only when it is spoken to is not waited for any longer.
async fn verdict<IO: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<IO>) -> io::Result<()> {
    match timeout(VERDICT, stream.fill_buf()).await {
        Ok(Ok([])) => Err(io::Error::other("the server closed the connection after the handshake")),
        Ok(Err(error)) => Err(in_words(error)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> =
        certificates.map_err(|error| problem(file, "no certificate", error))?;
    if certificates.is_empty() {
        return Err(format!("{}: no certificate", file.display()));
    }
    Ok(certificates)
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| problem(file, "no CA", error))?;
    }
    Ok(roots)
}

/// Whom the system trusts. What of it cannot be read is nobody that we trust.
fn system_roots() -> RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    ROOTS.get_or_init(read).clone()
}

fn problem(file: &Path, what: &str, error: impl fmt::Display) -> String {
    format!("{}: {what}: {error}", file.display())
}

/// A failure of TLS in the words of somebody who has to do something about it, if its own are not as good.
fn in_words(error: io::Error) -> io::Error {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref()) else { return error };
    let words = match cause {
        InvalidMessage(_) => "the server does not speak TLS on this port: use http://",
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is of no CA that is trusted here: name it with --ca"
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a certificate: show one with --cert and --key"
        }
        AlertReceived(AlertDescription::UnknownCA) => {
            "the server does not trust this client's certificate"
        }
        AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server speaks TLS, and not HTTP/2"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = Some(file.path().to_owned());
        let flags = TlsFlags { ca: path.clone(), ..TlsFlags::default() };
        let problem = Tls::new("localhost", &flags).unwrap_err();
        assert!(problem.ends_with("no certificate"), "{problem}");
        let flags = TlsFlags { cert: path.clone(), key: path, ..TlsFlags::default() };
        let problem = Tls::new("localhost", &flags).unwrap_err();
        assert!(problem.contains("no private key"), "{problem}");
    }

    #[test]
    fn an_address_can_be_a_servers_name_and_a_space_cannot() {
        for name in ["localhost", "127.0.0.1", "[::1]", "posts.example.org"] {
            assert!(Tls::new(name, &TlsFlags::default()).is_ok(), "{name}");
        }
        assert!(Tls::new("a b", &TlsFlags::default()).is_err());
    }
}
