//! Certificates, keys and tokens, and servers and clients that use them.

use std::path::{Path, PathBuf};

use quartet_client::{
    Channel,
    connect::ClientParameters,
    credentials::{Credentials, TokenSource},
    tls::TlsFlags as ClientTls,
};
use quartet_server::{
    auth::{AuthFlags, Scope},
    certs::{Certs, sign},
    config::Config,
    tls::TlsFlags,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::TestServer;

/// A directory of `server certs`.
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

    /// What a server with TLS is told.
    pub fn tls(&self) -> TlsFlags {
        let (cert, key) = (self.file("server.pem"), self.file("server.key"));
        TlsFlags { tls_cert: Some(cert), tls_key: Some(key), client_ca: None }
    }

    /// What one with mutual TLS is told.
    pub fn mutual_tls(&self) -> TlsFlags {
        TlsFlags { client_ca: Some(self.file("ca.pem")), ..self.tls() }
    }

    /// What one that asks for tokens is told.
    pub fn auth(&self) -> AuthFlags {
        let [issuer, audience] = ["quartet", "posts"].map(|name| Some(name.to_owned()));
        AuthFlags { jwks: Some(self.file("jwks.json")), issuer, audience, ..AuthFlags::default() }
    }

    /// A server that asks for tokens and is not encrypted.
    pub fn token_config(&self) -> Config {
        Config { auth: self.auth(), ..Config::ephemeral() }
    }

    /// A client that trusts this CA and shows no certificate.
    pub fn client(&self) -> ClientTls {
        ClientTls { ca: Some(self.file("ca.pem")), ..ClientTls::default() }
    }

    /// One that shows a certificate of this CA.
    pub fn certified_client(&self) -> ClientTls {
        self.client_certified_by(self)
    }

    /// One that shows a certificate of another.
    pub fn client_certified_by(&self, other: &Authority) -> ClientTls {
        let (cert, key) = (other.file("client.pem"), other.file("client.key"));
        ClientTls { cert: Some(cert), key: Some(key), ..self.client() }
    }

    /// What a good token says.
    pub fn claims(&self, user_id: &str, scopes: &[Scope], seconds: i64) -> Value {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
        let exp = exact_now() + seconds as f64;
        json!({ "iss": "quartet", "aud": "posts", "sub": user_id, "scope": scopes.join(" "), "exp": exp })
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Value) -> String {
        sign(&self.file("signing.key"), claims).unwrap()
    }

    /// A token of this user for everything, good for so many seconds.
    pub fn token(&self, user_id: &str, seconds: i64) -> String {
        self.sign(&self.claims(user_id, &Scope::ALL, seconds))
    }
}

/// The time of tokens.
pub fn now() -> i64 {
    exact_now() as i64
}

fn exact_now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// These calls are made with this token, whoever can read it.
pub fn with_token(channel: impl Into<Channel>, token: &str) -> Channel {
    let credentials = Credentials::new(TokenSource::Fixed(token.parse().unwrap()));
    channel.into().with_credentials(credentials.over_plaintext()).unwrap()
}

impl TestServer {
    /// A new connection with TLS.
    pub fn tls_channel(&self, tls: &ClientTls) -> Channel {
        let url = format!("https://{}", self.address());
        ClientParameters::default().connect(&url, tls).unwrap()
    }

    /// A new connection without it, as a client makes one.
    pub fn plain_channel(&self) -> Channel {
        quartet_client::connect(&format!("http://{}", self.address())).unwrap()
    }
}
