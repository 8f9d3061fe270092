//! The cost of stalled readers, for the server and for a reader that is not stalled.
//!
//! `cargo build --release && cargo run --release --example stalled_readers [READERS]` starts the
//! server in its own process, stores 4,000 posts of 2 KB, and opens lists that never read past a
//! window of 16 KiB, 100 to a connection. It prints the growth of the server's resident memory, and
//! how long a feed waits for a post without them and beside them. After 30 s the server resets
//! them.

use std::{
    env,
    error::Error,
    io::Write as _,
    process::Child,
    time::{Duration, Instant},
};

use common::{resident_kib, start_server};
use quartet::post::v1::{
    JoinTags, ListPostsRequest, ListPostsResponse, PostMessage, PublishPost, TagFeedRequest,
    UploadFinish, UploadPostsRequest, post_service_client::PostServiceClient, tag_feed_request,
    tag_feed_response, upload_posts_request::Payload,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

mod common;

const PER_CONNECTION: usize = 100;
const POSTS: usize = 4000;
const PUBLISHED: usize = 1000;
const WINDOW: u32 = 16 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let readers: usize = env::args().nth(1).map_or(Ok(1000), |arg| arg.parse())?;
    let (mut server, endpoint) = start_server()?;
    let result = measure(&server, &endpoint, readers).await;
    server.kill()?;
    server.wait()?;
    result
}

async fn measure(server: &Child, endpoint: &str, readers: usize) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    upload(endpoint).await?;
    let alone = latencies(endpoint, "alone").await?;
    let before = resident_kib(server)?;
    let mut stalled = Vec::new();
    for _ in 0..readers / PER_CONNECTION {
        stalled.extend(connect(endpoint).await?);
    }
    let beside = latencies(endpoint, "beside").await?;
    let after = resident_kib(server)?;
    writeln!(out, "{} stalled readers, {PER_CONNECTION} to a connection", stalled.len())?;
    writeln!(out, "resident: {before} KiB before, {after} KiB after")?;
    writeln!(out, "{:.1} KiB per reader", (after - before) as f64 / stalled.len() as f64)?;
    for (name, latencies) in [("alone", alone), ("beside them", beside)] {
        let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize];
        let (median, p99) = (at(0.5), at(0.99));
        writeln!(out, "a feed {name} waits {median:.0?} (median), {p99:.0?} (p99)")?;
    }
    let mut reset = 0;
    for mut reader in stalled {
        while let Ok(Some(_)) = reader.message().await {}
        reset += 1;
    }
    writeln!(out, "{reset} of them ended, {} KiB are left", resident_kib(server)?)?;
    Ok(())
}

async fn upload(endpoint: &str) -> Result<(), Box<dyn Error>> {
    let posts = (0..POSTS).map(|n| Payload::PostMessage(post(format!("p{n}"), "stored")));
    let finish = Payload::Finish(UploadFinish { post_count: POSTS as i64 });
    let messages =
        posts.chain([finish]).map(|payload| UploadPostsRequest { payload: Some(payload) });
    let messages: Vec<_> = messages.collect();
    let mut client = PostServiceClient::connect(endpoint.to_owned()).await?;
    client.upload_posts(tokio_stream::iter(messages)).await?;
    Ok(())
}

fn post(post_id: String, tag: &str) -> PostMessage {
    let (title, body) = (post_id.clone(), "x".repeat(2000));
    let (tags, user_id) = (vec![tag.to_owned()], "1".to_owned());
    PostMessage { post_id, title, body, tags, user_id, ..PostMessage::default() }
}

/// Opens a connection and its readers, each of which has read its first message.
async fn connect(endpoint: &str) -> Result<Vec<Streaming<ListPostsResponse>>, Box<dyn Error>> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?;
    let endpoint = endpoint.initial_stream_window_size(WINDOW);
    let mut client = PostServiceClient::new(endpoint.connect().await?);
    let mut readers = Vec::new();
    for _ in 0..PER_CONNECTION {
        readers.push(client.list_posts(ListPostsRequest::default()).await?.into_inner());
    }
    Ok(readers)
}

/// How long a feed waits for each of its own posts, sorted.
async fn latencies(endpoint: &str, name: &str) -> Result<Vec<Duration>, Box<dyn Error>> {
    let (requests, receiver) = mpsc::channel(4);
    let send = |payload| requests.send(TagFeedRequest { payload: Some(payload) });
    let join = JoinTags { tags: vec![name.to_owned()], ..JoinTags::default() };
    send(tag_feed_request::Payload::Join(join)).await?;
    let channel: Channel = Endpoint::from_shared(endpoint.to_owned())?.connect().await?;
    let feed = PostServiceClient::new(channel).tag_feed(ReceiverStream::new(receiver)).await?;
    let mut feed = feed.into_inner();
    let mut latencies = Vec::new();
    for n in 0..PUBLISHED {
        let published = PublishPost { post_message: Some(post(format!("{name}-{n}"), name)) };
        let begun = Instant::now();
        send(tag_feed_request::Payload::Publish(published)).await?;
        loop {
            let message = feed.message().await?.ok_or("the feed ended")?;
            if let Some(tag_feed_response::Payload::Posts(_)) = message.payload {
                break;
            }
        }
        latencies.push(begun.elapsed());
    }
    latencies.sort_unstable();
    Ok(latencies)
}
