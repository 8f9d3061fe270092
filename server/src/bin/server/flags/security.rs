//! The flags of encryption and authentication.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use quartet_connection::tls::TlsFiles;
use quartet_server::auth::{Access, AuthSettings, TrustedIssuer};

/// The flags of TLS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct TlsFlags {
    /// Serve TLS with this certificate chain (PEM).
    ///
    /// The certificate, the key and the client CA are reloaded when a file changes and on SIGHUP.
    /// Open streams go on.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Accept only clients with a certificate of this CA (PEM): mutual TLS.
    ///
    /// In the certificate, a name `quartet:user:ID` identifies the caller, and names
    /// `quartet:scope:SCOPE` grant scopes.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) client_ca: Option<PathBuf>,
}

impl TlsFlags {
    /// The files of TLS; `None` for plaintext.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
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
pub(crate) struct AuthFlags {
    /// Require a token (JWT) that is signed with one of these keys (JWKS: EdDSA, ES256 or RS256).
    ///
    /// The file is reloaded when it changes and on SIGHUP. Without --jwks and --client-ca, everyone
    /// may call everything.
    #[arg(long, value_name = "FILE", requires_all = ["issuer", "audience"])]
    pub(crate) jwks: Option<PathBuf>,

    /// The `iss` claim that tokens must have.
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub(crate) issuer: Option<String>,

    /// The `aud` claim that tokens must have.
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub(crate) audience: Option<String>,

    /// Who may call the health service, if callers are authenticated.
    #[arg(long, value_name = "WHO", default_value = "open")]
    pub(crate) health_access: Who,

    /// Who may use reflection, if callers are authenticated.
    #[arg(long, value_name = "WHO", default_value = "closed")]
    pub(crate) reflection_access: Who,
}

impl AuthFlags {
    /// The settings of authentication.
    pub(crate) fn settings(&self) -> AuthSettings {
        let issuer = self.jwks.clone().map(|jwks| TrustedIssuer {
            jwks,
            issuer: self.issuer.clone().unwrap_or_default(),
            audience: self.audience.clone().unwrap_or_default(),
        });
        let (health, reflection) = (self.health_access.into(), self.reflection_access.into());
        AuthSettings { issuer, health, reflection }
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Who {
    /// Everyone
    Open,
    /// Authenticated callers
    Closed,
}

impl From<Who> for Access {
    fn from(who: Who) -> Self {
        match who {
            Who::Open => Access::Open,
            Who::Closed => Access::Closed,
        }
    }
}
