//! The handshake of TLS, with rustls.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quartet_wire::{
    host_port::Host,
    pem::{Expected, why_not, why_unusable_key},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig,
        InconsistentKeys::KeyMismatch,
        RootCertStore, SignatureScheme,
        client::{ResolvesClientCert, Resumption},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        sign::CertifiedKey,
    },
};

use super::{
    settings::TlsSettings,
    trust::Trust,
    words::{NO_HTTP2, explain},
};

/// An encrypted connection.
pub(crate) type Encrypted<IO> = TlsStream<IO>;

/// TLS for connections to one server.
///
/// The files are read again for every connection, so a client that runs for a long time uses
/// renewed certificates without a restart.
#[derive(Debug, Clone)]
pub struct Tls {
    settings: TlsSettings,
    server_name: ServerName<'static>,
}

impl Tls {
    /// TLS for connections to `host`, or to the server that the settings name.
    ///
    /// # Errors
    /// What is wrong with the name or with a file, as text for people.
    pub fn new(host: &str, settings: &TlsSettings) -> Result<Self, String> {
        let name = settings.server_name.as_deref().unwrap_or(host);
        let host: Option<Host> = name.parse().ok();
        let server_name = host.and_then(|host| ServerName::try_from(host.without_zone()).ok());
        let server_name =
            server_name.ok_or_else(|| format!("{name:?} cannot be the name of a server"))?;
        if settings.cert.is_some() != settings.key.is_some() {
            return Err("a certificate and its key go together".to_owned());
        }
        let tls = Self { settings: settings.clone(), server_name };
        tls.config()?;
        Ok(tls)
    }

    /// Performs the handshake. Dropping the future abandons it.
    ///
    /// # Errors
    /// Those of the connection, what either side rejects about the other's certificate, and a
    /// server that does not select HTTP/2 by ALPN.
    pub async fn connect<IO>(&self, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, identity) = self.config().map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(self.server_name.clone(), io).await.map_err(explain)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other(NO_HTTP2));
        }
        if identity.was_requested.load(Ordering::Relaxed) {
            await_verdict(&mut stream).await?;
        }
        Ok(stream)
    }

    fn config(&self) -> Result<(ClientConfig, Arc<Identity>), String> {
        let (roots, listed) = match &self.settings.ca {
            Some(file) => roots(file)?,
            None => (system_roots(), Vec::new()),
        };
        let provider = Arc::new(ring::default_provider());
        let trust = Trust::new(roots, listed, provider.clone())?;
        let identity = Arc::new(Identity::read(&self.settings, &provider)?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous() // so is called what replaces webpki; `Trust` asks it all the same
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_client_cert_resolver(identity.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would keep the old certificates.
        config.resumption = Resumption::disabled();
        Ok((config, identity))
    }
}

/// The client's certificate, if there is one, and whether the server requested it.
#[derive(Debug)]
struct Identity {
    certificate: Option<Arc<CertifiedKey>>,
    was_requested: AtomicBool,
}

impl Identity {
    fn read(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Self, String> {
        let files = settings.cert.as_ref().zip(settings.key.as_ref());
        let certificate =
            files.map(|(cert, key)| certified_key(cert, key, provider)).transpose()?;
        Ok(Self { certificate: certificate.map(Arc::new), was_requested: AtomicBool::new(false) })
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_requested.store(true, Ordering::Relaxed);
        self.certificate.clone()
    }

    fn has_certs(&self) -> bool {
        true // otherwise rustls does not report that the server requested one
    }
}

/// How long to wait for the first bytes of a server that requested a certificate.
const VERDICT: Duration = Duration::from_secs(2);

/// Waits for the server's first bytes: in TLS 1.3, it rejects a client's certificate only after the
/// client has completed the handshake. A server that waits for the client's first bytes is given
/// [`VERDICT`].
async fn await_verdict<IO: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut TlsStream<IO>,
) -> io::Result<()> {
    match timeout(VERDICT, stream.fill_buf()).await {
        Ok(Ok([])) => Err(io::Error::other("the server closed the connection after the handshake")),
        Ok(Err(error)) => Err(explain(error)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(problem(file, "no certificate", why_not(Expected::Certificate, &content))),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let content = read(file)?;
    PrivateKeyDer::from_pem_slice(&content)
        .map_err(|_| problem(file, "no private key", why_not(Expected::Key, &content)))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// A certificate with its key, if the two belong together.
fn certified_key(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let (private_key, chain) = (private_key(key)?, certificates(cert)?);
    let is_pkcs1 = matches!(private_key, PrivateKeyDer::Pkcs1(_));
    let why = why_unusable_key(private_key.secret_der(), is_pkcs1);
    let loaded = provider.key_provider.load_private_key(private_key);
    let signing_key = loaded.map_err(|_| problem(key, "this key cannot be used", why))?;
    let fits = |chain: Vec<_>| {
        let pair = CertifiedKey::new(chain, signing_key.clone());
        !matches!(pair.keys_match(), Err(rustls::Error::InconsistentKeys(KeyMismatch)))
    };
    if fits(chain.clone()) {
        return Ok(CertifiedKey::new(chain, signing_key));
    }
    match chain.iter().skip(1).any(|other| fits(vec![other.clone()])) {
        true => Err(problem(cert, "wrong order", "the certificate of the key must come first")),
        false => Err(problem(key, "it does not match the certificate", cert.display())),
    }
}

/// The CAs of a file, and its certificates.
fn roots(file: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let (mut roots, listed) = (RootCertStore::empty(), certificates(file)?);
    for certificate in &listed {
        roots.add(certificate.clone()).map_err(|error| problem(file, "no CA", error))?;
    }
    Ok((roots, listed))
}

/// The CAs that the system trusts, read once. Those that cannot be parsed are not trusted.
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

#[cfg(test)]
mod tests;
