//! The flags of encryption and authentication.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValue};
use quartet_connection::tls::TlsFiles;

use crate::auth::{Access, AuthSettings, TrustedIssuer};

/// The flags of TLS.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Encryption")]
pub struct TlsFlags {
    /// Serve TLS with this certificate chain (PEM).
    ///
    /// The certificate, the key and the client CA are reloaded when a file changes and on SIGHUP.
    /// Open streams go on.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Accept only clients with a certificate of this CA (PEM): mutual TLS.
    ///
    /// In the certificate, a name `quartet:user:ID` identifies the caller, and names
    /// `quartet:scope:SCOPE` grant scopes.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
}

impl TlsFlags {
    /// The files of TLS; `None` for plaintext.
    pub fn files(&self) -> Option<TlsFiles> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return None };
        Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: self.client_ca.clone(),
        })
    }
}

/// The flags of authentication.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthFlags {
    /// Require a token (JWT) that is signed with one of these keys (JWKS: EdDSA, ES256 or RS256).
    ///
    /// The file is reloaded when it changes and on SIGHUP. Without --jwks and --client-ca, everyone
    /// may call everything.
    #[arg(long, value_name = "FILE", requires_all = ["issuer", "audience"])]
    pub jwks: Option<PathBuf>,

    /// The `iss` claim that tokens must have.
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub issuer: Option<String>,

    /// The `aud` claim that tokens must have.
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub audience: Option<String>,

    /// Who may call the health service, if callers are authenticated.
    #[arg(long, value_name = "WHO", default_value = "open")]
    pub health_access: Access,

    /// Who may use reflection, if callers are authenticated.
    #[arg(long, value_name = "WHO", default_value = "closed")]
    pub reflection_access: Access,
}

impl Default for AuthFlags {
    fn default() -> Self {
        let AuthSettings { health, reflection, .. } = AuthSettings::default();
        Self {
            jwks: None,
            issuer: None,
            audience: None,
            health_access: health,
            reflection_access: reflection,
        }
    }
}

impl AuthFlags {
    /// The settings of authentication.
    pub fn settings(&self) -> AuthSettings {
        let issuer = self.jwks.clone().map(|jwks| TrustedIssuer {
            jwks,
            issuer: self.issuer.clone().unwrap_or_default(),
            audience: self.audience.clone().unwrap_or_default(),
        });
        AuthSettings { issuer, health: self.health_access, reflection: self.reflection_access }
    }
}

impl ValueEnum for Access {
    fn value_variants<'a>() -> &'a [Self] {
        &[Access::Open, Access::Closed]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Access::Open => PossibleValue::new("open").help("Everyone"),
            Access::Closed => PossibleValue::new("closed").help("Authenticated callers"),
        })
    }
}
