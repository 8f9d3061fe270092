//! The handshake of TLS, with rustls.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use quartet_wire::pem::{Expected, why_not, why_unusable_key};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        InconsistentKeys::KeyMismatch,
        RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{NoServerSessionStorage, WebPkiClientVerifier},
        sign::{CertifiedKey, SingleCertAndKey},
    },
    server::TlsStream,
};

use super::{
    peeked::Peeked,
    pem::{Part, PemError, TlsFiles, TlsPem},
    record::HANDSHAKE_RECORD,
    trust::{Trust, names_of},
    words,
};
use crate::reload::{FileError, Reloaded};

/// gRPC's protocol in ALPN.
const H2: &[u8] = b"h2";
/// Bytes of a refused peer that are read and discarded, so that it receives why; the handshake
/// timeout bounds the time.
const DISCARDED_BYTES: u64 = 64 * 1024;
/// What is reloaded, for the log.
const WHAT: &str = "the certificates";

/// TLS of a server. Clones share it.
#[derive(Debug, Clone)]
pub struct Tls(Reloaded<ServerConfig>);

/// An encrypted connection.
type Encrypted<IO> = TlsStream<Peeked<IO>>;
/// The URI names of a peer's certificate, if it has shown one.
type Names = Option<Arc<[String]>>;

impl Tls {
    /// TLS from files, which a [`Reloader`](crate::reload::Reloader) with
    /// [`reloaded`](Self::reloaded) reads again when they change. Open connections go on.
    ///
    /// # Errors
    /// The file that cannot be read or used.
    pub fn from_files(files: TlsFiles) -> Result<Self, FileError> {
        let TlsFiles { certificate, key, client_ca } = files;
        let paths: Vec<PathBuf> = [certificate, key].into_iter().chain(client_ca).collect();
        let names = paths.clone();
        let make = move |contents: &[Vec<u8>]| from_contents(&names, contents);
        Reloaded::open(WHAT, paths, make).map(Self)
    }

    /// TLS from bytes, for as long as the server runs.
    ///
    /// # Errors
    /// The part that cannot be used.
    pub fn from_pem(pem: TlsPem<'_>) -> Result<Self, PemError> {
        Ok(Self(Reloaded::fixed(WHAT, server_config(pem)?)))
    }

    /// What a [`Reloader`](crate::reload::Reloader) reloads.
    pub fn reloaded(&self) -> &Reloaded<ServerConfig> {
        &self.0
    }

    // ANCHOR: accept
    /// The handshake. Results in the encrypted connection and the names of the peer's certificate.
    /// A refused peer learns the reason, as far as possible.
    ///
    /// # Errors
    /// Why there is no connection. Dropping the future closes it.
    pub(crate) async fn accept<IO>(&self, io: IO) -> io::Result<(Encrypted<IO>, Names)>
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
                if let Some(why) = words::of_handshake(&error) {
                    tracing::info!(why, "a peer is refused");
                }
                hang_up(io).await; // the peer has been sent an alert
                return Err(error);
            }
        };
        let connection = io.get_ref().1;
        if connection.alpn_protocol() != Some(H2) {
            return Err(refuse(io, "this server speaks HTTP/2 only: ALPN must name h2").await);
        }
        let names = connection.peer_certificates().and_then(|chain| names_of(chain.first()?));
        Ok((io, names))
    }
    // ANCHOR_END: accept
}

/// Tells a peer that cannot speak HTTP/2 here, in a GOAWAY. Returns the reason as an error.
async fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin, why: &'static str) -> io::Error {
    tracing::info!(why, "a peer is refused");
    // If the write fails the peer is gone, which is what it should be.
    let _ = io.write_all(&goaway(why)).await;
    hang_up(io).await;
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

/// Closes a connection once its peer does: to close at once, with input unread, would make TCP
/// discard what the peer has not received yet.
async fn hang_up(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let parting = async {
        io.shutdown().await?;
        tokio::io::copy(&mut (&mut io).take(DISCARDED_BYTES), &mut tokio::io::sink()).await
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
    bytes.put_u32(0); // no stream was served: all can be tried again
    bytes.put_u32(INADEQUATE_SECURITY);
    bytes.put_slice(why.as_bytes());
    bytes.freeze()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// From the contents of the certificate, its key and perhaps a client CA, at these paths.
fn from_contents(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<ServerConfig, FileError> {
    let content = |index: usize| contents.get(index).map(Vec::as_slice);
    let pem = TlsPem {
        certificate: content(0).unwrap_or_default(),
        key: content(1).unwrap_or_default(),
        client_ca: content(2),
    };
    server_config(pem).map_err(|PemError { part, problem }| {
        let path = paths.get(part as usize).map_or(Path::new(""), PathBuf::as_path);
        FileError::new(path, problem)
    })
}

fn server_config(pem: TlsPem<'_>) -> Result<ServerConfig, PemError> {
    let chain = certificates(Part::Certificate, pem.certificate)?;
    let certified_key = certified_key(chain, pem.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Part::Certificate.problem(error))?;
    let builder = match pem.client_ca {
        Some(ca) => {
            let listed = certificates(Part::ClientCa, ca)?;
            let roots = Arc::new(roots(&listed)?);
            let webpki = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let webpki = webpki.map_err(|error| Part::ClientCa.problem(error))?;
            builder.with_client_cert_verifier(Arc::new(Trust { webpki, listed }))
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key)));
    config.alpn_protocols = vec![H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn certificates(part: Part, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => {
            let why = why_not(Expected::Certificate, pem);
            Err(part.problem(format!("no certificate: {why}")))
        }
    }
}

/// A certificate with its key, if the two belong together.
fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: &[u8],
) -> Result<CertifiedKey, PemError> {
    let private_key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        Part::Key.problem(format!("no private key: {}", why_not(Expected::Key, key)))
    })?;
    let is_pkcs1 = matches!(private_key, PrivateKeyDer::Pkcs1(_));
    let why = why_unusable_key(private_key.secret_der(), is_pkcs1);
    let loaded = provider().key_provider.load_private_key(private_key);
    let signing_key = loaded.map_err(|_| Part::Key.problem(why))?;
    let fits = |chain| {
        let pair = CertifiedKey::new(chain, signing_key.clone());
        !matches!(pair.keys_match(), Err(rustls::Error::InconsistentKeys(KeyMismatch)))
    };
    if fits(chain.clone()) {
        return Ok(CertifiedKey::new(chain, signing_key));
    }
    match chain.iter().skip(1).any(|other| fits(vec![other.clone()])) {
        true => Err(Part::Certificate
            .problem("wrong order: the certificate of the private key must come first")),
        false => Err(Part::Key.problem("does not fit the certificate")),
    }
}

fn roots(listed: &[CertificateDer<'static>]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in listed {
        roots.add(certificate.clone()).map_err(|error| Part::ClientCa.problem(error))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> (String, String) {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (signed.cert.pem(), signed.signing_key.serialize_pem())
    }

    #[test]
    fn pem_in_memory_is_checked_part_by_part() {
        let ((certificate, key), (other_certificate, other_key)) = (certificate(), certificate());
        let good = TlsPem {
            certificate: certificate.as_bytes(),
            key: key.as_bytes(),
            client_ca: Some(certificate.as_bytes()),
        };
        assert!(Tls::from_pem(good).is_ok());
        let reversed = other_certificate + &certificate;
        for (pem, problem) in [
            (TlsPem { certificate: b"", ..good }, "the certificate: no certificate: it is empty"),
            (TlsPem { key: b"", ..good }, "the private key: no private key: "),
            (
                TlsPem { key: other_key.as_bytes(), ..good },
                "the private key: does not fit the certificate",
            ),
            (TlsPem { client_ca: Some(b""), ..good }, "the client CA: no certificate"),
            (
                TlsPem { key: certificate.as_bytes(), ..good },
                "the private key: no private key: it holds",
            ),
            (TlsPem { certificate: reversed.as_bytes(), ..good }, "the certificate: wrong order"),
            (
                TlsPem { key: b"-----BEGIN ENCRYPTED PRIVATE KEY-----", ..good },
                "the private key: no private key: it is encrypted",
            ),
        ] {
            let refused = Tls::from_pem(pem).unwrap_err().to_string();
            assert!(refused.starts_with(problem), "{refused}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let [certificate_file, key_file] =
            ["certificate", "key"].map(|name| directory.path().join(name));
        let (certificate, _) = certificate();
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, "nothing").unwrap();
        let files =
            TlsFiles { certificate: certificate_file, key: key_file.clone(), client_ca: None };
        assert_eq!(Tls::from_files(files).unwrap_err().file, key_file);
    }

    /// The certificate that one line of openssl makes is its own CA, and says so.
    #[tokio::test]
    async fn a_clients_certificate_of_a_ca_is_trusted_if_that_very_certificate_is_listed() {
        let of_a_ca = || {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            (pem, key.serialize_pem())
        };
        let (server, client, stranger) = (certificate(), of_a_ca(), of_a_ca());
        let pem = TlsPem {
            certificate: server.0.as_bytes(),
            key: server.1.as_bytes(),
            client_ca: Some(client.0.as_bytes()),
        };
        let tls = Tls::from_pem(pem).unwrap();
        assert!(greet(&tls, &server.0, &client).await.is_ok());
        let refused = greet(&tls, &server.0, &stranger).await.unwrap_err().to_string();
        assert!(refused.contains("CaUsedAsEndEntity"), "{refused}");
    }

    /// The server's end of a handshake with a client that shows this certificate.
    async fn greet(tls: &Tls, ca: &str, client: &(String, String)) -> io::Result<()> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(client.0.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(client.1.as_bytes()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![H2.to_vec()];
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let greeting = async {
            let _client = connector.connect("localhost".try_into().unwrap(), near).await;
            // It hangs up, so that a server that refuses it does not wait.
        };
        let (accepted, ()) = tokio::join!(tls.accept(far), greeting);
        accepted.map(drop)
    }
}
