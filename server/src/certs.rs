//! `server certs` and `server token`: files for trying out TLS, mutual TLS and tokens.
//!
//! | file | content |
//! |---|---|
//! | `ca.pem`, `ca.key` | a new CA |
//! | `server.pem`, `server.key` | the server's, for `localhost`, `127.0.0.1` and `::1` |
//! | `client.pem`, `client.key` | the client's, for user 1 with every scope |
//! | `jwks.json`, `signing.key` | a key that verifies tokens, and its private key that signs them |
//!
//! Not a CA for production: its key lies beside its certificates, and nothing is ever revoked.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType,
};
use serde::Serialize;

use crate::{
    auth::{Scope, caller::names_of, crypto, token::Claims},
    validate,
};

/// Validity of certificates, in days: a year and a month.
const DAYS: i64 = 398;

/// Certificates and keys for trying out TLS and tokens.
#[derive(Debug, Clone)]
pub struct Certs {
    /// The directory of the files; created if missing.
    pub dir: PathBuf,
    /// Makes new certificates for the server and the client, of the existing CA.
    pub renew: bool,
    /// The user of the client's certificate.
    pub user_id: String,
}

/// A token for trying out authentication.
#[derive(Debug, Clone)]
pub struct Mint {
    /// The user of the token.
    pub sub: String,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// How long it is valid.
    pub ttl: Duration,
    /// Its issuer.
    pub issuer: String,
    /// Its audience.
    pub audience: String,
    /// The file of the key that signs it.
    pub key: PathBuf,
}

/// Why certificates or a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The files exist already.
    #[error("{} is there already; --renew makes new certificates of its CA", .0.display())]
    Exists(PathBuf),
    /// A file or directory cannot be written or read.
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A file is not a private key.
    #[error("{} is not a private key in PEM, as `server certs` makes", .0.display())]
    Key(PathBuf, #[source] rcgen::Error),
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A token cannot be made.
    #[error("cannot sign a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// The user id is not valid.
    #[error("{0}")]
    UserId(String),
}

impl Certs {
    /// Makes the files, and prints what each is for.
    ///
    /// # Errors
    /// [`CertsError`]. Files written before the error are kept.
    pub fn run(&self, out: &mut impl Write) -> Result<(), CertsError> {
        check_user(&self.user_id)?;
        let ca = if self.renew { self.read_ca()? } else { self.new_ca()? };
        let server = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut server = CertificateParams::new(server)?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue("server", server, "Quartet server", &ca)?;
        let mut client = CertificateParams::default();
        for name in names_of(&self.user_id, &Scope::ALL) {
            client.subject_alt_names.push(SanType::URI(name.try_into()?));
        }
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue("client", client, "Quartet client", &ca)?;
        if !self.renew {
            self.signing_key()?;
        }
        self.say(out).map_err(|error| CertsError::File("stdout".into(), error))
    }

    fn say(&self, out: &mut impl Write) -> io::Result<()> {
        let user = format!("for user {}, with every scope (--cert, --key)", self.user_id);
        let made = [
            (
                "ca.pem, ca.key",
                "the CA: clients trust servers with it (--ca), servers trust clients (--client-ca)",
            ),
            ("server.pem, server.key", "for localhost, 127.0.0.1, ::1 (--tls-cert, --tls-key)"),
            ("client.pem, client.key", &user),
            (
                "jwks.json, signing.key",
                "for tokens: the key to trust (--jwks), the key to sign with (server token)",
            ),
        ];
        let made = if self.renew { &made[1..3] } else { &made[..] };
        let dir = self.dir.display().to_string();
        let dir = dir.trim_end_matches('/');
        made.iter().try_for_each(|(files, what)| writeln!(out, "{dir}/{files:22}  {what}"))
    }

    fn new_ca(&self) -> Result<Issuer<'static, KeyPair>, CertsError> {
        let file = self.dir.join("ca.pem");
        if file.exists() {
            return Err(CertsError::Exists(file));
        }
        fs::create_dir_all(&self.dir).map_err(|error| CertsError::File(self.dir.clone(), error))?;
        let key = KeyPair::generate()?;
        let params = ca_params(&key);
        self.write("ca", &params.self_signed(&key)?, &key)?;
        Ok(Issuer::new(params, key))
    }

    fn read_ca(&self) -> Result<Issuer<'static, KeyPair>, CertsError> {
        let file = self.dir.join("ca.key");
        let key = read_key(&file)?;
        Ok(Issuer::new(ca_params(&key), key))
    }

    fn issue(
        &self,
        file: &str,
        mut params: CertificateParams,
        name: &str,
        ca: &Issuer<'_, KeyPair>,
    ) -> Result<(), CertsError> {
        let key = KeyPair::generate()?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        validity(&mut params);
        self.write(file, &params.signed_by(&key, ca)?, &key)
    }

    fn write(&self, name: &str, cert: &Certificate, key: &KeyPair) -> Result<(), CertsError> {
        write(&self.dir.join(format!("{name}.pem")), cert.pem().as_bytes(), PUBLIC)?;
        write(&self.dir.join(format!("{name}.key")), key.serialize_pem().as_bytes(), SECRET)
    }

    /// Writes a key that signs tokens, and a JWKS with its public part.
    fn signing_key(&self) -> Result<(), CertsError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        write(&self.dir.join("signing.key"), key.serialize_pem().as_bytes(), SECRET)?;
        let jwk = serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key_id(&key),
            "x": URL_SAFE_NO_PAD.encode(key.public_key_raw()),
        });
        let jwks = format!("{:#}\n", serde_json::json!({ "keys": [jwk] }));
        write(&self.dir.join("jwks.json"), jwks.as_bytes(), PUBLIC)
    }
}

impl Mint {
    /// Signs a token.
    ///
    /// # Errors
    /// [`CertsError`].
    pub fn token(&self) -> Result<String, CertsError> {
        check_user(&self.sub)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let scopes: BTreeSet<&str> = self.scopes.iter().map(|scope| scope.name()).collect();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: self.sub.clone(),
            scope: scopes.into_iter().collect::<Vec<_>>().join(" "),
            exp: now.saturating_add(self.ttl).as_millis() as f64 / 1000.0,
        };
        sign(&self.key, &claims)
    }
}

/// Signs a token with these claims, with the key of a file.
///
/// # Errors
/// [`CertsError`].
pub fn sign(file: &Path, claims: &impl Serialize) -> Result<String, CertsError> {
    crypto::install();
    let key = read_key(file)?;
    let header = Header { kid: Some(key_id(&key)), ..Header::new(Algorithm::EdDSA) };
    Ok(encode(&header, claims, &EncodingKey::from_ed_der(key.serialized_der()))?)
}

fn read_key(file: &Path) -> Result<KeyPair, CertsError> {
    let pem = fs::read_to_string(file).map_err(|error| CertsError::File(file.to_owned(), error))?;
    KeyPair::from_pem(&pem).map_err(|error| CertsError::Key(file.to_owned(), error))
}

fn check_user(user_id: &str) -> Result<(), CertsError> {
    validate::user_id(user_id).map_err(|status| CertsError::UserId(status.message().to_owned()))
}

/// An id for a key: the first characters of its public part.
fn key_id(key: &KeyPair) -> String {
    URL_SAFE_NO_PAD.encode(key.public_key_raw()).chars().take(8).collect()
}

/// The name of a CA is derived from its key, so that the key alone is enough to issue more.
fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Quartet CA {}", key_id(key)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params);
    params
}

/// Valid from an hour ago, because clocks differ.
fn validity(params: &mut CertificateParams) {
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::days(DAYS);
}

/// Modes of files: readable by everyone, or by the owner alone.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Writes a temporary file and renames it, so that a reader sees either the old content or the new.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertsError> {
    let beside = path.with_extension("new");
    let written = || {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        fs::rename(&beside, path)
    };
    written().map_err(|error| CertsError::File(path.to_owned(), error))
}
