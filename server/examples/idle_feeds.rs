//! What an idle feed costs the server in memory.
//!
//! `cargo build --release && cargo run --release --example idle_feeds [FEEDS]` starts the server in a process of its
//! own, opens feeds that joined a tag each, 100 to a connection, and prints how its resident memory grew.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use quartet::post::v1::{
    JoinTags, TagFeedRequest, TagFeedResponse, post_service_client::PostServiceClient,
    tag_feed_request::Payload,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

const PER_CONNECTION: usize = 100;

/// A feed that is held open.
type Feed = (mpsc::Sender<TagFeedRequest>, Streaming<TagFeedResponse>);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let feeds: usize = env::args().nth(1).map_or(Ok(10_000), |arg| arg.parse())?;
    let (mut server, endpoint) = start_server()?;
    let result = measure(&server, &endpoint, feeds).await;
    server.kill()?;
    server.wait()?;
    result
}

async fn measure(server: &Child, endpoint: &str, feeds: usize) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let mut open: Vec<Feed> = Vec::new();
    // The first connections warm up what the server allocates once.
    for connection in 0..10 {
        open.extend(connect(endpoint, connection).await?);
    }
    let before = resident_kib(server)?;
    let warm = open.len();
    for connection in 10..10 + feeds / PER_CONNECTION {
        open.extend(connect(endpoint, connection).await?);
    }
    let after = resident_kib(server)?;
    let opened = open.len() - warm;
    writeln!(out, "{opened} idle feeds, {PER_CONNECTION} to a connection")?;
    writeln!(out, "resident: {before} KiB before, {after} KiB after")?;
    writeln!(out, "{:.1} KiB per feed", (after - before) as f64 / opened as f64)?;
    Ok(())
}

/// Opens a connection and its feeds, each caught up when this returns.
async fn connect(endpoint: &str, connection: usize) -> Result<Vec<Feed>, Box<dyn Error>> {
    let channel = Endpoint::from_shared(endpoint.to_owned())?.connect().await?;
    let mut feeds = Vec::new();
    for feed in 0..PER_CONNECTION {
        feeds.push(open_feed(channel.clone(), format!("tag-{connection}-{feed}")).await?);
    }
    Ok(feeds)
}

async fn open_feed(channel: Channel, tag: String) -> Result<Feed, Box<dyn Error>> {
    let (requests, receiver) = mpsc::channel(1);
    let join = JoinTags { tags: vec![tag], ..JoinTags::default() };
    requests.send(TagFeedRequest { payload: Some(Payload::Join(join)) }).await?;
    let mut client = PostServiceClient::new(channel);
    let mut responses = client.tag_feed(ReceiverStream::new(receiver)).await?.into_inner();
    responses.message().await?.ok_or("the feed ended")?; // Joined
    responses.message().await?.ok_or("the feed ended")?; // the bookmark that says "caught up"
    Ok((requests, responses))
}

fn start_server() -> Result<(Child, String), Box<dyn Error>> {
    let this = env::current_exe()?;
    let folder = this.parent().and_then(|examples| examples.parent()).ok_or("no target folder")?;
    let mut server = Command::new(folder.join("server"))
        .args(["--ephemeral", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let endpoint = line.trim().strip_prefix("listening on ").ok_or("the server did not start")?;
    Ok((server, endpoint.to_owned()))
}

fn resident_kib(process: &Child) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}
