//! The memory of an idle feed at the server.
//!
//! `cargo build --release && cargo run --release --example idle_feeds [FEEDS]` starts the server in
//! its own process, opens feeds with one tag each, 100 to a connection, and prints the growth of
//! its resident memory.

use std::{env, error::Error, io::Write as _, process::Child};

use common::{resident_kib, start_server};

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

mod common;

const PER_CONNECTION: usize = 100;

/// An open feed.
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
    // The first connections trigger one-time allocations of the server.
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
