//! The post log: an ordered, durable sequence of posts, each stored once.
//!
//! Guarantees of every implementation, proved by one conformance suite (`log/conformance.rs`):
//! - Sequences are 1, 2, 3 … without holes, in the order in which appends were taken in.
//! - A post is answered for, counted in `head` and readable only after it is durable; then it is never lost.
//! - One `post_id` is stored at most once, for ever. A duplicate is answered only once its original is durable.
//! - After a failed write nothing more is acknowledged.
//!
//! Not here: who may write, what a valid post is (`validate.rs`), names of authors (`authors.rs`), waiting for new
//! posts (`cursor.rs`).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{oneshot, watch};

pub mod disk;
pub mod embedded;
pub mod memory;

pub use metrics::LogMetrics;
pub use new_posts::{NewPost, NewPosts};
pub use records::{Limit, Record, Records};

mod blocks;
#[cfg(test)]
mod conformance;
mod index;
mod metrics;
mod new_posts;
mod pending;
mod records;
mod recovery;
mod ring;
mod segment;
mod writer;

/// An ordered log of posts.
///
/// Every method is cancel-safe: dropping its future loses nothing that was taken in.
#[tonic::async_trait]
pub trait PostLog: Send + Sync + std::fmt::Debug + 'static {
    /// The random name that the log got when it was made.
    fn log_id(&self) -> &str;

    /// The newest durable sequence, 0 for an empty log. It never goes back.
    fn head(&self) -> watch::Receiver<u64>;

    /// Takes posts in and returns what they will become, an [`Outcome`] per post.
    ///
    /// Waits for room while the log is busy. Once it returns, the posts have their place: appends are stored in the
    /// order in which they were taken in, whether or not anybody waits for the outcome. Callers keep an append to
    /// at most [`APPEND_POSTS`] posts and [`APPEND_BYTES`] bytes.
    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError>;

    /// Reads posts with a sequence greater than `after`, in order, within `limit`: at least one unless `after` is the
    /// head, and perhaps fewer than the limit allows.
    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError>;

    /// Reads the posts of one user with a sequence greater than `after`, in order, through an index.
    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError>;

    /// Waits until the log has failed: it takes no more posts until it is opened anew. Never, if it cannot fail.
    async fn failed(&self) {
        std::future::pending().await
    }

    /// Stores what was taken in, then takes no more; returns why the log had failed, if it had.
    ///
    /// Nothing runs on behalf of the log then. Reading goes on to work. May be called again.
    async fn close(&self) -> Result<(), LogError>;
}

/// Posts that a single append may hold.
pub const APPEND_POSTS: usize = 512;
/// Bytes of content that a single append may hold (one post alone may not exceed it).
pub const APPEND_BYTES: usize = 1024 * 1024;

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was stored, here.
    Created(u64),
    /// It had been stored before, here, with the same content.
    Duplicate(u64),
    /// Another post has its id; nothing was stored.
    IdTaken,
}

/// Posts that were taken in: resolves to an outcome per post, in their order, once all are durable.
///
/// Dropping it changes nothing: the posts are stored all the same.
#[derive(Debug)]
pub struct Appending(oneshot::Receiver<Result<Vec<Outcome>, LogError>>);

impl Appending {
    /// The promise and the end that keeps it.
    pub fn new() -> (oneshot::Sender<Result<Vec<Outcome>, LogError>>, Self) {
        let (promise, answer) = oneshot::channel();
        (promise, Self(answer))
    }
}

impl Future for Appending {
    type Output = Result<Vec<Outcome>, LogError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A promise that is dropped unkept means that the writer is gone.
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or(Err(LogError::Closed)))
    }
}

/// One user's posts.
#[derive(Debug, Clone)]
pub struct UserPage {
    /// In the order of the log.
    pub records: Vec<Record>,
    /// Every post of the user up to here is in this page or before it: the last record's sequence if there is
    /// `more`, else the head.
    pub position: u64,
    /// Whether the user has posts after `position`.
    pub more: bool,
}

impl UserPage {
    /// The page that holds `records` out of `matching` ones, on a log with this head.
    fn new(records: Vec<Record>, matching: usize, head: u64) -> Self {
        let more = records.len() < matching;
        let position = match records.last() {
            Some(last) if more => last.sequence,
            _ => head,
        };
        Self { records, position, more }
    }
}

/// A name for a new log: 128 random bits in hex.
fn new_log_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Why the log did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The disk failed, now or earlier. Posts in flight may or may not be stored.
    #[error("the log's disk failed: {0}")]
    Failed(Arc<io::Error>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// The log was opened only to be read.
    #[error("the log is read-only")]
    ReadOnly,
    /// Stored bytes do not match their checksum.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The segment.
        file: String,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        LogError::Failed(Arc::new(error))
    }
}

impl LogError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, LogError::Failed(error) if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}
