//! Certificates, keys and tokens, and servers and clients that use them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use quartet_channel::{Channel, Credentials, TlsSettings as ClientTls, TokenSource};
use quartet_connection::tls::TlsFiles;
use quartet_server::{
    auth::{AuthSettings, Scope, TrustedIssuer},
    certs::{Certs, sign},
    settings::Settings,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::TestServer;

/// A directory made by `server certs`.
pub struct Authority(TempDir);

impl Authority {
    pub fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        authority.certs(false).run(&mut std::io::sink()).unwrap();
        authority
    }

    fn certs(&self, renew: bool) -> Certs {
        Certs { dir: self.path().to_owned(), renew, user_id: "1".to_owned() }
    }

    /// New certificates and keys of the same CA.
    pub fn renew(&self) {
        self.certs(true).run(&mut std::io::sink()).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The files of a server with TLS.
    pub fn tls(&self) -> Option<TlsFiles> {
        Some(self.tls_files(None))
    }

    /// The files of a server with mutual TLS.
    pub fn mutual_tls(&self) -> Option<TlsFiles> {
        Some(self.tls_files(Some(self.file("ca.pem"))))
    }

    fn tls_files(&self, client_ca: Option<PathBuf>) -> TlsFiles {
        let (certificate, key) = (self.file("server.pem"), self.file("server.key"));
        TlsFiles { certificate, key, client_ca }
    }

    /// The settings of a server that requires tokens.
    pub fn auth(&self) -> AuthSettings {
        let [issuer, audience] = ["quartet", "posts"].map(str::to_owned);
        let issuer = TrustedIssuer { jwks: self.file("jwks.json"), issuer, audience };
        AuthSettings { issuer: Some(issuer), ..AuthSettings::default() }
    }

    /// A server in plaintext that requires tokens.
    pub fn token_config(&self) -> Settings {
        Settings { auth: self.auth(), ..Settings::default() }
    }

    /// The server side of handshakes, for a server that a test makes itself.
    pub fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// A client that trusts this CA and shows no certificate.
    pub fn client(&self) -> ClientTls {
        ClientTls { ca: Some(self.file("ca.pem")), ..ClientTls::default() }
    }

    /// A client that shows a certificate of this CA.
    pub fn certified_client(&self) -> ClientTls {
        self.client_certified_by(self)
    }

    /// A client that shows a certificate of another CA.
    pub fn client_certified_by(&self, other: &Authority) -> ClientTls {
        let (cert, key) = (other.file("client.pem"), other.file("client.key"));
        ClientTls { cert: Some(cert), key: Some(key), ..self.client() }
    }

    /// The claims of a valid token.
    pub fn claims(&self, user_id: &str, scopes: &[Scope], seconds: i64) -> Value {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
        let exp = exact_now() + seconds as f64;
        let scope = scopes.join(" ");
        json!({ "iss": "quartet", "aud": "posts", "sub": user_id, "scope": scope, "exp": exp })
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        sign(&self.file("signing.key"), claims).unwrap()
    }

    /// A token of this user with all scopes, valid for this many seconds.
    pub fn token(&self, user_id: &str, seconds: i64) -> String {
        self.sign(&self.claims(user_id, &Scope::ALL, seconds))
    }
}

/// Now, as tokens count time: seconds since the Unix epoch.
pub fn now() -> i64 {
    exact_now() as i64
}

fn exact_now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// A channel that sends this token, in plaintext too.
pub fn with_token(channel: impl Into<Channel>, token: &str) -> Channel {
    let credentials = Credentials::new(TokenSource::Fixed(token.parse().unwrap()));
    channel.into().with_credentials(credentials.over_plaintext()).unwrap()
}

impl TestServer {
    /// A new connection with TLS.
    pub fn tls_channel(&self, tls: &ClientTls) -> Channel {
        let url = format!("https://{}", self.address());
        quartet_channel::connect(&url, tls).unwrap()
    }

    /// A new connection in plaintext, through the client's own builder.
    pub fn plain_channel(&self) -> Channel {
        quartet_client::connect(&format!("http://{}", self.address())).unwrap()
    }
}
