//! Serves an ordinary tonic service that knows nothing of this crate, calls it in all four kinds,
//! sends away a client that pings too often, and drains while a stream is open.
//!
//! It checks what it prints, and exits with an error otherwise:
//!
//! ```text
//! cargo run -p quartet-connection --example plain_tonic
//! ```

use std::{error::Error, io::Write as _, time::Duration};

use futures::stream;
use quartet_connection::{HttpService, Routes, Settings, serve};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Streaming, service::interceptor::InterceptedService, transport::Endpoint,
};

use echo::{Echo, EchoClient, Word};

#[path = "plain_tonic/echo.rs"]
mod echo;

type Checked = Result<(), Box<dyn Error>>;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Checked {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    // Any tonic service, here with an interceptor.
    let service = InterceptedService::new(Echo, |request: Request<()>| Ok(request));
    let service = HttpService::new(Routes::new(service));
    let settings = Settings { drain_timeout: Duration::from_secs(5), ..Settings::default() };
    let drain = CancellationToken::new();
    let serving = serve(listener, service, settings, drain.clone());
    let ((), checked) = timeout(SOON, async {
        tokio::join!(serving, async {
            let checked = check(&url, &drain).await;
            drain.cancel(); // also if a check failed
            checked
        })
    })
    .await?;
    checked?;
    require(TcpStream::connect(&url["http://".len()..]).await.is_err(), "nothing listens any more")
}

async fn check(url: &str, drain: &CancellationToken) -> Checked {
    let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
    let mut client = EchoClient::new(channel);
    call_all_kinds(&mut client).await?;
    ping_too_often(url).await?;
    drain_with_an_open_stream(&mut client, drain).await
}

async fn call_all_kinds(client: &mut EchoClient) -> Checked {
    let once = client.once(Request::new(Word::new("hello"))).await?.into_inner();
    require(once.text == "hello", "unary: the word again")?;
    let refused = client.once(Request::new(Word::new(""))).await.map_err(|status| status.code());
    require(refused.is_err_and(|code| code == Code::InvalidArgument), "unary: a refusal")?;

    let mut letters = client.letters(Request::new(Word::new("abc"))).await?.into_inner();
    require(read(&mut letters).await? == ["a", "b", "c"], "server streaming: each letter")?;

    let words = ["one", "two", "three"].map(Word::new);
    let joined = client.joined(stream::iter(words.clone())).await?.into_inner();
    require(joined.text == "one two three", "client streaming: all words in one")?;

    let mut each = client.each(stream::iter(words)).await?.into_inner();
    require(read(&mut each).await? == ["one", "two", "three"], "bidirectional: each word")
}

/// The first ping is free and two more are forgiven; the next is one too many, because a client
/// without a stream may ping once in two hours.
async fn ping_too_often(url: &str) -> Checked {
    let io = TcpStream::connect(&url["http://".len()..]).await?;
    let (_requests, mut connection) = h2::client::handshake(io).await?;
    let mut pings = connection.ping_pong().ok_or("it can ping")?;
    let pinging = async { while pings.ping(h2::Ping::opaque()).await.is_ok() {} };
    let (ended, ()) = tokio::join!(connection, pinging);
    let reason = ended.err().and_then(|error| error.reason());
    let calm = reason == Some(h2::Reason::ENHANCE_YOUR_CALM);
    require(calm, "a client that pings too often is sent away: ENHANCE_YOUR_CALM")
}

async fn drain_with_an_open_stream(client: &mut EchoClient, drain: &CancellationToken) -> Checked {
    let (words, sent) = mpsc::channel(1);
    let mut each = client.each(ReceiverStream::new(sent)).await?.into_inner();
    words.send(Word::new("before")).await?;
    let before = each.message().await?.ok_or("an echo")?;
    drain.cancel();
    words.send(Word::new("after")).await?;
    let after = each.message().await?.ok_or("an echo")?;
    drop(words);
    let ended = each.message().await?.is_none();
    let texts = [before.text, after.text];
    require(ended && texts == ["before", "after"], "a stream that is open goes on while it drains")
}

async fn read(words: &mut Streaming<Word>) -> Result<Vec<String>, tonic::Status> {
    let mut texts = Vec::new();
    while let Some(word) = words.message().await? {
        texts.push(word.text);
    }
    Ok(texts)
}

/// Prints a claim, or fails with it.
fn require(holds: bool, claim: &str) -> Checked {
    if !holds {
        return Err(format!("not so: {claim}").into());
    }
    writeln!(std::io::stdout(), "{claim}")?;
    Ok(())
}
