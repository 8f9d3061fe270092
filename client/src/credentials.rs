//! Who we are, said with every call: bearer tokens.
//!
//! Credentials belong to a channel or to a single call, as in Go: what `grpc.WithPerRPCCredentials` gives to all calls of a
//! connection is [`Channel::with_credentials`](crate::Channel::with_credentials) on the channel that all of them use;
//! the call option `grpc.PerRPCCredentials` is the same on a clone that one call uses.
//!
//! Guarantees: a token is sent over TLS and unix sockets only, unless [`Credentials::over_plaintext`] says otherwise. No
//! `Debug` and no error shows one. A token that the server calls expired is not asked for again where there may be a
//! newer one.

use std::{
    fmt,
    path::PathBuf,
    pin::Pin,
    process::Stdio,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body::{Frame, SizeHint};
use tokio::{process::Command, time::timeout};
use tonic::{Code, Status, body::Body};
use tower::Service;

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

    /// Anything without spaces. White space around it is no part of it.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it is not a token".to_owned());
        }
        let mut value = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| "it is not a token".to_owned())?;
        // HTTP/2 must not keep it in the table of headers that it compresses with.
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Where tokens come from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// This one, for as long as it lasts.
    Fixed(Token),
    /// A file, which is read for every call.
    File(PathBuf),
    /// A command of the shell, which prints one. It is run again when the server calls its token expired.
    Command(String),
}

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Credentials")]
pub struct TokenFlags {
    /// Call with this token; whoever may list processes can read it here
    #[arg(long, value_name = "TOKEN", group = "token_source")]
    pub token: Option<Token>,
    /// Call with the token in this file, which is read for every call
    #[arg(long, value_name = "FILE", group = "token_source")]
    pub token_file: Option<PathBuf>,
    /// Call with the token that this command prints; it is run again when the token has expired
    #[arg(long, value_name = "COMMAND", group = "token_source")]
    pub token_command: Option<String>,
    /// Send the token over http:// too, where everybody on the way can read it
    #[arg(long, requires = "token_source")]
    pub insecure_token: bool,
}

impl TokenFlags {
    /// What calls say of who makes them, if the flags name anything.
    pub fn credentials(&self) -> Option<Credentials> {
        let Self { token, token_file, token_command, insecure_token } = self.clone();
        let source = token
            .map(TokenSource::Fixed)
            .or(token_file.map(TokenSource::File))
            .or(token_command.map(TokenSource::Command))?;
        let credentials = Credentials::new(source);
        Some(if insecure_token { credentials.over_plaintext() } else { credentials })
    }
}

/// A source of tokens for calls. Clones share what they have fetched.
#[derive(Debug, Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
    plaintext: bool,
}

#[derive(Debug)]
struct Shared {
    source: TokenSource,
    /// What the command has printed. Held while it runs, so that it runs once for all who wait.
    fetched: tokio::sync::Mutex<Option<Token>>,
    /// The last token that the server has called expired, or worse.
    refused: Mutex<Option<Token>>,
}

impl Credentials {
    /// Tokens from there.
    pub fn new(source: TokenSource) -> Self {
        let shared =
            Shared { source, fetched: tokio::sync::Mutex::default(), refused: Mutex::default() };
        Self { shared: Arc::new(shared), plaintext: false }
    }

    /// The same for connections that everybody on the way can read.
    #[must_use]
    pub fn over_plaintext(self) -> Self {
        Self { plaintext: true, ..self }
    }

    /// Whether they may be sent over a connection that is, or is not, secure.
    pub fn fit(&self, is_secure: bool) -> bool {
        is_secure || self.plaintext
    }

    /// Adds a token to the headers of a call. Cancel-safe.
    ///
    /// # Errors
    /// UNAUTHENTICATED if the only token has expired, UNAVAILABLE if none can be had now.
    pub(crate) async fn authorize(&self, headers: &mut HeaderMap) -> Result<Token, Status> {
        let token = self.token().await?;
        headers.insert(AUTHORIZATION, token.0.clone());
        Ok(token)
    }

    async fn token(&self) -> Result<Token, Status> {
        let refused = self.refused().clone();
        match &self.shared.source {
            TokenSource::Fixed(token) if refused.as_ref() == Some(token) => {
                Err(Status::unauthenticated("the token was refused, and there is no other"))
            }
            TokenSource::Fixed(token) => Ok(token.clone()),
            TokenSource::File(file) => {
                let text = tokio::fs::read_to_string(file).await;
                let text = text.map_err(|error| format!("{}: {error}", file.display()));
                text.and_then(|text| text.parse()).map_err(no_token)
            }
            TokenSource::Command(command) => {
                let mut fetched = self.shared.fetched.lock().await;
                match &*fetched {
                    Some(token) if refused.as_ref() != Some(token) => Ok(token.clone()),
                    _ => Ok(fetched.insert(run(command).await.map_err(no_token)?).clone()),
                }
            }
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response to a call with this token: if it is refused, now or at its end, the next call takes another.
    pub(crate) fn watch(&self, token: Token, response: Response<Body>) -> Response<Body> {
        let mut watched = Watched { inner: Body::empty(), credentials: self.clone(), token };
        watched.note(response.headers());
        response.map(|body| {
            watched.inner = body;
            Body::new(watched)
        })
    }
}

/// A channel whose calls have a token, if there are credentials.
#[derive(Debug, Clone)]
pub(crate) struct Authorize<S> {
    channel: S,
    credentials: Option<Credentials>,
}

impl<S> Authorize<S> {
    pub(crate) fn new(channel: S, credentials: Option<Credentials>) -> Self {
        Self { channel, credentials }
    }
}

impl<S> Service<Request<Body>> for Authorize<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.credentials.clone() {
            None => Either::Left(self.channel.call(request)),
            Some(credentials) => {
                // The one that is ready; the clone is for the next call.
                let next = self.channel.clone();
                let ready = std::mem::replace(&mut self.channel, next);
                Either::Right(call_as(credentials, ready, request).boxed())
            }
        }
    }
}

/// A call with a token. Without one it fails as if the server had said so.
async fn call_as<S>(
    credentials: Credentials,
    mut channel: S,
    mut request: Request<Body>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    match credentials.authorize(request.headers_mut()).await {
        Ok(token) => Ok(credentials.watch(token, channel.call(request).await?)),
        Err(status) => Ok(status.into_http()),
    }
}

fn no_token(problem: String) -> Status {
    Status::unavailable(format!("no token: {problem}"))
}

/// What a command prints. What it says on stderr is for whoever started us.
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
        .map_err(|_| "the command printed none".to_owned())
}

/// A response whose end is looked at.
struct Watched {
    inner: Body,
    credentials: Credentials,
    token: Token,
}

impl Watched {
    fn note(&self, headers: &HeaderMap) {
        const UNAUTHENTICATED: i32 = Code::Unauthenticated as i32;
        let status =
            headers.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
        if status == Some(UNAUTHENTICATED) {
            *self.credentials.refused() = Some(self.token.clone());
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.note(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0";

    fn refuse(credentials: &Credentials, token: Token) {
        let status = Status::unauthenticated("").into_http();
        drop(credentials.watch(token, status));
    }

    #[tokio::test]
    async fn no_token_is_shown_in_debug_output() {
        let token: Token = SECRET.parse().unwrap();
        let flags = TokenFlags { token: Some(token), ..TokenFlags::default() };
        let credentials = flags.credentials().unwrap();
        let mut headers = HeaderMap::new();
        let token = credentials.authorize(&mut headers).await.unwrap();
        assert_eq!(headers[AUTHORIZATION], format!("Bearer {SECRET}"));
        refuse(&credentials, token);
        for shown in [format!("{flags:?}"), format!("{credentials:?}"), format!("{headers:?}")] {
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        for text in ["", " ", "two words", "new\nline", "ü"] {
            let problem = text.parse::<Token>().unwrap_err();
            assert_eq!(problem, "it is not a token", "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_token_that_was_refused_is_replaced_where_there_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        let command = format!("echo x >> {0}; wc -l < {0}", count.display());
        let credentials = Credentials::new(TokenSource::Command(command));
        let first = credentials.token().await.unwrap();
        assert_eq!(credentials.token().await.unwrap(), first, "it is kept");
        refuse(&credentials, first.clone());
        let second = credentials.token().await.unwrap();
        assert_ne!(second, first);
        assert_eq!(credentials.token().await.unwrap(), second);

        let fixed = Credentials::new(TokenSource::Fixed(first.clone()));
        refuse(&fixed, first);
        assert_eq!(fixed.token().await.unwrap_err().code(), Code::Unauthenticated);
    }

    #[tokio::test]
    async fn a_command_that_fails_is_tried_again_by_the_next_call() {
        for command in ["exit 3", "echo two words"] {
            let credentials = Credentials::new(TokenSource::Command(command.to_owned()));
            assert_eq!(credentials.token().await.unwrap_err().code(), Code::Unavailable);
        }
    }
}
