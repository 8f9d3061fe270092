//! Loads: each sends requests to a server, checks the answers, and reports figures.
//!
//! All gRPC servers get the same load. It has large windows and frames and reads posts without
//! copying, so that the server is the bottleneck: on the `h2` crate, and below it where many calls
//! share a connection.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;

use crate::{Result, answer, usage::Figures};

mod connection;
mod streams;

mod list;
mod overhead;
mod unary;
mod upload;

mod feed;
mod idle;
mod nats;

mod append;

/// A load that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Which load, how much work, and on which server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    work: Work,
    /// The server's address.
    #[arg(long, default_value = "127.0.0.1:9001")]
    address: String,
    /// The CA of a server that speaks TLS (for `upload` and `list`).
    #[arg(long)]
    ca: Option<PathBuf>,
    /// The server's process id.
    #[arg(long, default_value_t = std::process::id())]
    pid: u32,
    /// How many posts, calls or messages.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// How many posts the server holds.
    #[arg(long, default_value_t = 10_000)]
    posts: u64,
    /// How many lists.
    #[arg(long, default_value_t = 1)]
    lists: u64,
    /// How many readers share the lists.
    #[arg(long, default_value_t = 1)]
    readers: u64,
    #[arg(long, default_value_t = 10)]
    connections: u64,
    /// Feeds that follow the published tag.
    #[arg(long, default_value_t = 100)]
    subscribers: u64,
    /// Feeds that follow another tag each; for `idle`, on each connection.
    #[arg(long, default_value_t = 0)]
    idle: u64,
    /// Messages per second; 0: as fast as possible.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Whether messages may be lost.
    #[arg(long)]
    lossy: bool,
    /// Where `append` writes.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// What `append` writes with.
    #[arg(long, value_enum, default_value_t = append::Engine::Raw)]
    engine: append::Engine,
}

/// The loads.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Work {
    /// `UploadPosts`: one stream.
    Upload,
    /// `ListPosts`: every post is decoded and checked.
    List,
    /// The same with tonic's client and prost.
    TonicList,
    /// The same with this suite's client.
    ClientList,
    /// The same from the raw server.
    RawList,
    /// `ListPosts`, many at once: posts are counted.
    Readers,
    /// `ListPostsByUserId`, 64 at once on one connection.
    Unary,
    /// The same, one call after another, through the channel of this suite's client.
    OurChannel,
    /// The same through tonic's channel.
    TonicChannel,
    /// `TagFeed`: one publisher, many subscribers.
    Feed,
    /// The same with NATS.
    Nats,
    /// Idle `TagFeed` calls.
    Idle,
    /// Batches of 512 posts to a file or a store, in this process.
    Append,
}

/// One thread is enough for every load, and leaves the other cores to the server.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn load(options: &Options) -> Result<()> {
    let work = async {
        match options.work {
            Work::Upload => upload::upload(options).await,
            Work::List => list::list(options).await,
            Work::TonicList => list::tonic_list(options).await,
            Work::ClientList => list::client_list(options).await,
            Work::RawList => list::raw_list(options).await,
            Work::Readers => list::readers(options).await,
            Work::Unary => unary::unary(options).await,
            Work::OurChannel => overhead::our_channel(options).await,
            Work::TonicChannel => overhead::tonic_channel(options).await,
            Work::Feed => feed::feed(options).await,
            Work::Nats => nats::nats(options).await,
            Work::Idle => idle::idle(options).await,
            Work::Append => append::append(options),
        }
    };
    let figures = tokio::time::timeout(PATIENCE, work).await.map_err(|_| "the load hangs")??;
    answer(&serde_json::to_string(&figures)?);
    Ok(())
}

/// Latencies in microseconds, up to a minute, with two significant digits.
fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 2)?)
}

impl Figures {
    fn with_latencies(mut self, latencies: &Histogram<u64>) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        (self.p50_ms, self.p99_ms) = (Some(at(0.5)), Some(at(0.99)));
        self
    }
}
