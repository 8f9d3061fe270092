//! What a load is asked to do.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which load, how much of it, and on what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    pub(super) work: Work,
    /// The server's address.
    #[arg(long, default_value = "127.0.0.1:9001")]
    pub(super) address: String,
    /// The CA of a server that speaks TLS: of `upload` and `list`.
    #[arg(long)]
    pub(super) ca: Option<PathBuf>,
    /// The server's process.
    #[arg(long, default_value_t = std::process::id())]
    pub(super) pid: u32,
    /// How many posts, calls or messages.
    #[arg(long, default_value_t = 10_000)]
    pub(super) count: u64,
    /// How many posts the server holds.
    #[arg(long, default_value_t = 10_000)]
    pub(super) posts: u64,
    /// How many lists.
    #[arg(long, default_value_t = 1)]
    pub(super) lists: u64,
    /// How many readers share them.
    #[arg(long, default_value_t = 1)]
    pub(super) readers: u64,
    #[arg(long, default_value_t = 10)]
    pub(super) connections: u64,
    /// Feeds that follow the tag that is published to.
    #[arg(long, default_value_t = 100)]
    pub(super) subscribers: u64,
    /// Feeds that follow a tag of their own; of `idle`, on each connection.
    #[arg(long, default_value_t = 0)]
    pub(super) idle: u64,
    /// Messages per second; 0 is as fast as it goes.
    #[arg(long, default_value_t = 0)]
    pub(super) rate: u64,
    /// Whether messages may be lost.
    #[arg(long)]
    pub(super) lossy: bool,
    /// Where `append` writes.
    #[arg(long, default_value = ".")]
    pub(super) dir: PathBuf,
    /// What `append` writes with.
    #[arg(long, value_enum, default_value_t = Engine::Raw)]
    pub(super) engine: Engine,
}

/// The works.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Work {
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
    /// The same one after another, by the channel of this suite's client.
    OurChannel,
    /// By tonic's.
    TonicChannel,
    /// `TagFeed`: one publisher, many subscribers.
    Feed,
    /// The same with NATS.
    Nats,
    /// `TagFeed` with nothing to say.
    Idle,
    /// Batches of 512 posts to a file or a store, in this process.
    Append,
}

/// What takes the batches.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Engine {
    /// A file, with append and fdatasync.
    Raw,
    #[cfg(feature = "stores")]
    Redb,
    #[cfg(feature = "stores")]
    Fjall,
}
