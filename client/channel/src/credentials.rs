//! Bearer tokens of calls.
//!
//! [`Channel::with_credentials`](crate::Channel::with_credentials) returns a channel whose calls
//! carry a token. Use it on the first channel to authenticate every call, as
//! `grpc.WithPerRPCCredentials` does in Go, or on a clone to authenticate single calls, as
//! `grpc.PerRPCCredentials` does.
//!
//! Guarantees: a token is sent only over TLS and unix sockets, unless
//! [`Credentials::over_plaintext`] allows plaintext. Neither `Debug` output nor an error contains a
//! token. A token that the server has refused as UNAUTHENTICATED is not used again where the source
//! may have a newer one.

use std::{
    fmt,
    path::PathBuf,
    process::Stdio,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use quartet_wire::unindexed;
use tokio::{process::Command, time::timeout};
use tonic::Status;

use crate::cause::Cause;

/// How long a command may take to print a token.
const COMMAND: Duration = Duration::from_secs(30);

/// A bearer token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl FromStr for Token {
    type Err = String;

    /// Accepts printable ASCII without spaces; white space around it is removed.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it is not a token".to_owned());
        }
        let value = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| "it is not a token".to_owned())?;
        // HPACK must not keep a secret in its table.
        Ok(Self(unindexed(value)))
    }
}

/// Where tokens come from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// A token that never changes.
    Fixed(Token),
    /// A file that holds the token, read for every call.
    File(PathBuf),
    /// A shell command that prints the token. It runs again after the server has refused the token.
    Command(String),
}

/// Credentials of calls. Clones share the tokens that were fetched.
#[derive(Debug, Clone)]
pub struct Credentials {
    cache: Arc<TokenCache>,
    plaintext: bool,
}

#[derive(Debug)]
struct TokenCache {
    source: TokenSource,
    /// The token that the command printed. Locked while the command runs, so that it runs once for
    /// all calls that wait.
    fetched: tokio::sync::Mutex<Option<Token>>,
    /// The last token that the server refused.
    refused: Mutex<Option<Token>>,
}

impl Credentials {
    /// Credentials that take their tokens from `source`.
    pub fn new(source: TokenSource) -> Self {
        let (fetched, refused) = Default::default();
        Self { cache: Arc::new(TokenCache { source, fetched, refused }), plaintext: false }
    }

    /// The same credentials, which may also be sent over plaintext TCP, where others can read them.
    #[must_use]
    pub fn over_plaintext(self) -> Self {
        Self { plaintext: true, ..self }
    }

    /// Whether they may be sent over a connection that is private (TLS or a unix socket) or not.
    pub(crate) fn may_be_sent(&self, is_private: bool) -> bool {
        is_private || self.plaintext
    }

    /// Adds a token to the headers of a call. Cancel-safe.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the server has refused the only token, UNAVAILABLE if the source has none
    /// now.
    pub(crate) async fn authorize(&self, headers: &mut HeaderMap) -> Result<Token, Status> {
        let token = self.token().await?;
        headers.insert(AUTHORIZATION, token.0.clone());
        Ok(token)
    }

    /// Records that the server refused this token.
    pub(crate) fn refuse(&self, token: &Token) {
        *self.refused() = Some(token.clone());
    }

    async fn token(&self) -> Result<Token, Status> {
        let refused = self.refused().clone();
        match &self.cache.source {
            TokenSource::Fixed(token) if refused.as_ref() == Some(token) => {
                Err(Cause::TokenRefused.into())
            }
            TokenSource::Fixed(token) => Ok(token.clone()),
            TokenSource::File(file) => {
                let text = tokio::fs::read_to_string(file).await;
                let text = text.map_err(|error| format!("{}: {error}", file.display()));
                text.and_then(|text| text.parse()).map_err(no_token)
            }
            TokenSource::Command(command) => {
                let mut fetched = self.cache.fetched.lock().await;
                match &*fetched {
                    Some(token) if refused.as_ref() != Some(token) => Ok(token.clone()),
                    _ => Ok(fetched.insert(run(command).await.map_err(no_token)?).clone()),
                }
            }
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.cache.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_token(problem: String) -> Status {
    Cause::NoToken(problem).into()
}

/// Runs a command and returns the token that it prints. Its stderr is that of this process.
async fn run(command: &str) -> Result<Token, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = timeout(COMMAND, shell.output()).await;
    let output = output.map_err(|_| format!("the command took longer than {COMMAND:?}"))?;
    let output = output.map_err(|error| format!("the command cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("the command failed: {}", output.status));
    }
    String::from_utf8_lossy(&output.stdout)
        .parse()
        .map_err(|_| "the command printed no token".to_owned())
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const SECRET: &str = "c2VjcmV0";

    #[tokio::test]
    async fn debug_output_shows_no_token() {
        let token: Token = SECRET.parse().unwrap();
        let source = TokenSource::Fixed(token);
        let credentials = Credentials::new(source.clone());
        let mut headers = HeaderMap::new();
        let token = credentials.authorize(&mut headers).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], format!("Bearer {SECRET}"));
        credentials.refuse(&token);
        for shown in [format!("{source:?}"), format!("{credentials:?}"), format!("{headers:?}")] {
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }

    #[test]
    fn an_invalid_token_is_refused_and_not_repeated_in_the_error() {
        for text in ["", " ", "two words", "new\nline", "ü"] {
            let problem = text.parse::<Token>().unwrap_err();
            assert_eq!(problem, "it is not a token", "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_if_the_source_may_have_another() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        let command = format!("echo x >> {0}; wc -l < {0}", count.display());
        let credentials = Credentials::new(TokenSource::Command(command));
        let first = credentials.token().await.unwrap();
        assert_eq!(credentials.token().await.unwrap(), first, "the token is cached");
        credentials.refuse(&first);
        let second = credentials.token().await.unwrap();
        assert_ne!(second, first);
        assert_eq!(credentials.token().await.unwrap(), second);

        let fixed = Credentials::new(TokenSource::Fixed(first.clone()));
        fixed.refuse(&first);
        assert_eq!(fixed.token().await.unwrap_err().code(), Code::Unauthenticated);
    }

    #[tokio::test]
    async fn a_command_that_fails_runs_again_for_the_next_call() {
        for failure in ["exit 3", "echo two words"] {
            let runs = tempfile::NamedTempFile::new().unwrap();
            let command = format!("echo x >> {}; {failure}", runs.path().display());
            let credentials = Credentials::new(TokenSource::Command(command));
            for _ in 0..2 {
                assert_eq!(credentials.token().await.unwrap_err().code(), Code::Unavailable);
            }
            assert_eq!(std::fs::read_to_string(runs.path()).unwrap(), "x\nx\n");
        }
    }
}
