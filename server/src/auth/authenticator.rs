//! Turns a token or a certificate into a [`Caller`].

use std::path::{Path, PathBuf};

use http::{HeaderMap, header::AUTHORIZATION};
use quartet_connection::{
    Peer,
    reload::{FileError, Reloaded},
};
use tonic::Status;

#[cfg(not(feature = "tokens"))]
use super::no_token::Keys;
#[cfg(feature = "tokens")]
use super::token::Keys;
use super::{caller::Caller, refusal::Refusal};
use crate::error;

/// How callers are authenticated, and which services are open to everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// The issuer whose tokens are trusted; without one, only certificates authenticate.
    pub issuer: Option<TrustedIssuer>,
    /// Who may call the health service.
    pub health: Access,
    /// Who may use reflection.
    pub reflection: Access,
}

impl Default for AuthSettings {
    /// No tokens, health open to everyone, reflection for authenticated callers.
    fn default() -> Self {
        Self { issuer: None, health: Access::Open, reflection: Access::Closed }
    }
}

/// An issuer of trusted tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// The file of its public keys (JWKS).
    pub jwks: PathBuf,
    /// The `iss` claim of its tokens.
    pub issuer: String,
    /// The `aud` claim of tokens for this server.
    pub audience: String,
}

impl TrustedIssuer {
    fn keys(self) -> Result<Reloaded<Keys>, FileError> {
        let Self { jwks, issuer, audience } = self;
        let file = jwks.clone();
        let keys = Reloaded::open("the keys of tokens", vec![jwks.clone()], move |contents| {
            let jwks = contents.first().map(Vec::as_slice).unwrap_or_default();
            let keys = Keys::parse(jwks, &issuer, &audience);
            let keys = keys.map_err(|problem| FileError::new(&file, problem))?;
            log_left_out(&file, &keys);
            Ok(keys)
        })?;
        // A server does not start without a key. One that runs takes a set without any: it may be
        // there to withdraw the last one.
        let left_out = keys.get().left_out().join("; ");
        match keys.get().is_empty() {
            true => {
                Err(FileError::new(&jwks, format!("it has no key that can be used. {left_out}")))
            }
            false => Ok(keys),
        }
    }
}

/// Warns once per version of the file: a server that runs reads it only when it has changed.
fn log_left_out(file: &Path, keys: &Keys) {
    let file = file.display();
    for problem in keys.left_out() {
        tracing::warn!(%file, "a key of tokens is left out: {problem}");
    }
    if keys.is_empty() {
        tracing::warn!(%file, "no key of tokens can be used: every token is refused");
    }
}

/// Who may call methods that reveal nothing about users and posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Open,
    /// Authenticated callers.
    Closed,
}

/// Authenticates the callers of a server. Clones share it.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The keys of trusted tokens; without them, only certificates authenticate.
    keys: Option<Reloaded<Keys>>,
    health: Access,
    reflection: Access,
}

impl Auth {
    /// Authentication with these settings. `None` if callers need not authenticate: no issuer is
    /// trusted, and `certificates` says that clients have no certificates.
    ///
    /// # Errors
    /// The file of keys cannot be read or used.
    pub fn open(settings: AuthSettings, certificates: bool) -> Result<Option<Self>, FileError> {
        let AuthSettings { issuer, health, reflection } = settings;
        let keys = issuer.map(TrustedIssuer::keys).transpose()?;
        Ok((keys.is_some() || certificates).then_some(Self { keys, health, reflection }))
    }

    /// The keys, for reloading.
    pub(crate) fn keys(&self) -> Option<&Reloaded<Keys>> {
        self.keys.as_ref()
    }

    /// Who may call the health service.
    pub(crate) fn health(&self) -> Access {
        self.health
    }

    /// Who may use reflection.
    pub(crate) fn reflection(&self) -> Access {
        self.reflection
    }

    /// The caller of a request with these headers, on a connection with this peer. A token takes
    /// precedence over the connection's certificate, because it was sent with the call itself.
    ///
    /// # Errors
    /// UNAUTHENTICATED, with the reason.
    pub(crate) fn authenticate(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Status> {
        if let Some(keys) = &self.keys
            && headers.contains_key(AUTHORIZATION)
        {
            let token = bearer_token(headers).ok_or_else(error::token_invalid)?;
            return keys.get().verify(token).map_err(|refusal| {
                tracing::debug!(%refusal, "a token is refused");
                match refusal {
                    Refusal::Expired => error::token_expired(),
                    Refusal::Invalid(_) => error::token_invalid(),
                }
            });
        }
        let names = peer.certificate_names.as_deref().unwrap_or_default();
        Caller::of_names(names.iter().map(String::as_str)).ok_or_else(error::credentials_missing)
    }
}

/// The token of `authorization: Bearer TOKEN` (RFC 6750), if the header occurs exactly once.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
