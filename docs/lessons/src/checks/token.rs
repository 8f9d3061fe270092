//! Lesson 15: a token expires in mid-stream.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quartet_channel::{Credentials, TokenSource};
use quartet_server::{
    auth::{AuthSettings, TrustedIssuer},
    certs::{Certs, sign},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::Status;

use crate::{
    judge,
    reader::Reader,
    stage::{Client, PATIENCE, Stage, posts},
    verdict::Verdict,
};

/// An issuer of tokens that are valid for 5 s.
#[derive(Debug)]
pub struct Tokens {
    folder: TempDir,
    left: usize,
}

impl Tokens {
    /// A new token.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the caller asked for more than 20.
    pub fn fresh(&mut self) -> Result<String, Status> {
        let refused = || Status::resource_exhausted("the issuer gives no more than 20 tokens");
        self.left = self.left.checked_sub(1).ok_or_else(refused)?;
        self.token(5).map_err(Status::internal)
    }

    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let dir = folder.path().to_owned();
        let certs = Certs { dir, renew: false, user_id: "1".to_owned() };
        certs.run(&mut std::io::sink()).map_err(|error| error.to_string())?;
        Ok(Self { folder, left: 20 })
    }

    fn token(&self, seconds: u64) -> Result<String, String> {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        let exp = now.as_secs_f64() + seconds as f64;
        let scope = "posts.read posts.write";
        let claims =
            json!({ "iss": "quartet", "aud": "posts", "sub": "1", "scope": scope, "exp": exp });
        sign(&self.file("signing.key"), &claims).map_err(|error| error.to_string())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that requires tokens of this issuer.
    async fn stage(&self) -> Result<Stage, String> {
        let [issuer, audience] = ["quartet", "posts"].map(str::to_owned);
        let issuer = TrustedIssuer { jwks: self.file("jwks.json"), issuer, audience };
        let auth = AuthSettings { issuer: Some(issuer), ..AuthSettings::default() };
        let token = self.token(24 * 3600)?.parse();
        let token = token.map_err(|_| "the token is no header value".to_owned())?;
        Stage::open_with(auth, Some(Credentials::new(TokenSource::Fixed(token)))).await
    }
}

/// The program follows the log until it has handled this many posts. One comes every second.
///
/// # Errors
/// It gives up when its token expires, or the reader sees a gap or a duplicate.
pub async fn check(
    program: impl AsyncFn(Client, &mut Tokens, &mut Reader, usize) -> Result<(), Status>,
) -> Verdict {
    let (mut tokens, mut reader) = (Tokens::new()?, Reader::default());
    let stage = tokens.stage().await?;
    let write = stage.write_slowly(posts(20, 10), Duration::from_secs(1));
    let follow = timeout(PATIENCE, program(stage.client(), &mut tokens, &mut reader, 20));
    let (written, followed) = tokio::join!(write, follow);
    written?;
    if let Ok(Err(status)) = followed {
        return Err(format!(
            "A token is valid for 5 s, and the stream is to last for 20 s.\n\
             The program gave up: {:?}, {}",
            status.code(),
            status.message()
        ));
    }
    judge::order(&stage.log().await?, &reader)?;
    match reader.count() {
        20 => Ok(()),
        count => Err(format!("20 posts were written, and the reader handled {count}.")),
    }
}
