//! The flags of `server certs` and `server token`.

use std::{io::Write, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use quartet_server::{
    auth::Scope,
    certs::{Certs, CertsError, Mint},
};

/// What to make.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Make {
    /// Make certificates and keys for trying out TLS and tokens.
    Certs(CertsFlags),
    /// Make a token for trying out authentication.
    Token(TokenFlags),
}

impl Make {
    /// Makes it, and prints the token or what each file is for.
    ///
    /// # Errors
    /// [`CertsError`]. Files that were written before stay.
    pub(crate) fn run(self, out: &mut impl Write) -> Result<(), CertsError> {
        match self {
            Make::Certs(flags) => Certs::from(flags).run(out),
            Make::Token(flags) => {
                let token = Mint::from(flags).token()?;
                writeln!(out, "{token}").map_err(|error| CertsError::File("stdout".into(), error))
            }
        }
    }
}

/// Make certificates and keys for trying out TLS and tokens: a CA, the server's, and a client's for
/// user 1.
///
/// The server's certificate is for localhost, 127.0.0.1 and ::1. Existing files are replaced only
/// with --renew.
#[derive(Debug, Clone, Args)]
pub(crate) struct CertsFlags {
    /// The directory of the files; created if missing.
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Make new certificates for the server and the client, of the existing CA. A running server
    /// reloads them.
    #[arg(long)]
    renew: bool,

    /// The user of the client's certificate.
    #[arg(long, value_name = "ID", default_value = "1")]
    user_id: String,
}

impl From<CertsFlags> for Certs {
    fn from(CertsFlags { dir, renew, user_id }: CertsFlags) -> Self {
        Self { dir, renew, user_id }
    }
}

/// Make a token for trying out authentication, and print it.
#[derive(Debug, Clone, Args)]
pub(crate) struct TokenFlags {
    /// The user of the token.
    #[arg(long, value_name = "USER_ID")]
    sub: String,

    /// A scope of the token: users.read, posts.read or posts.write. Can be given several times.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,

    /// How long the token is valid.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = humantime::parse_duration
    )]
    ttl: Duration,

    /// The issuer, as in the server's --issuer.
    #[arg(long, value_name = "NAME", default_value = "quartet")]
    issuer: String,

    /// The audience, as in the server's --audience.
    #[arg(long, value_name = "NAME", default_value = "quartet")]
    audience: String,

    /// The key that signs the token, made by `server certs`.
    #[arg(long, value_name = "FILE", default_value = "certs/signing.key")]
    key: PathBuf,
}

impl From<TokenFlags> for Mint {
    fn from(flags: TokenFlags) -> Self {
        let TokenFlags { sub, scopes, ttl, issuer, audience, key } = flags;
        Self { sub, scopes, ttl, issuer, audience, key }
    }
}
