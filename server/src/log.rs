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

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost_types::Timestamp;
use quartet::{borrowed::PostRef, post::v1::PostMessage, wire};
use tokio::sync::{oneshot, watch};

pub mod disk;
pub mod embedded;
pub mod memory;

pub use metrics::LogMetrics;
pub use records::{Limit, Record, Records};

mod blocks;
#[cfg(test)]
mod conformance;
mod index;
mod metrics;
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
    async fn append(&self, posts: Vec<NewPost>) -> Result<Appending, LogError>;

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

/// A valid post that waits for its place.
#[derive(Debug, Clone)]
pub struct NewPost {
    /// How many bytes of `stored` are content; the rest is `create_time`.
    content_len: usize,
    stored: Bytes,
}

impl NewPost {
    /// Encodes a post that is decoded, and valid (`validate.rs`).
    pub fn of(post: &PostMessage, create_time: Timestamp) -> Self {
        let message = post.encode_to_vec();
        let post = PostRef::decode(&message).expect("invariant: it was encoded above");
        Encoder::new(&create_time, 0).encode(&post)
    }

    /// The idempotency key.
    pub fn post_id(&self) -> &str {
        wire::PostView(&self.stored).post_id()
    }

    /// The writer.
    pub fn user_id(&self) -> &str {
        wire::PostView(&self.stored).user_id()
    }

    /// The bytes to store.
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    /// Whether stored bytes are the same post, whenever it was created.
    pub fn same_content(&self, stored: &[u8]) -> bool {
        wire::same_content(stored, &self.stored[..self.content_len])
    }
}

/// Encodes posts, one behind the other.
///
/// Each is copied from `post` to where it stays: a buffer that may be shared looks for room at every byte of a key.
#[derive(Debug)]
pub struct Encoder {
    /// Of the posts that come next, encoded.
    create_time: Vec<u8>,
    post: Vec<u8>,
    room: BytesMut,
    room_bytes: usize,
}

impl Encoder {
    /// An encoder of posts that are accepted at this time, and share allocations of `room_bytes`; 0 if there is one post.
    pub fn new(create_time: &Timestamp, room_bytes: usize) -> Self {
        let (post, room) = (Vec::new(), BytesMut::new());
        let mut encoder = Self { create_time: Vec::new(), post, room, room_bytes };
        encoder.set_time(create_time);
        encoder
    }

    /// When the posts that follow are accepted.
    pub fn set_time(&mut self, create_time: &Timestamp) {
        self.create_time.clear();
        wire::append_create_time(&mut self.create_time, create_time);
    }

    /// Encodes a post, once. It must be valid (`validate.rs`).
    pub fn encode(&mut self, post: &PostRef<'_>) -> NewPost {
        self.post.clear();
        wire::encode_content(post, &mut self.post);
        let content_len = self.post.len();
        self.post.extend_from_slice(&self.create_time);
        if self.room.capacity() < self.post.len() {
            self.room = BytesMut::with_capacity(self.room_bytes.max(self.post.len()));
        }
        self.room.extend_from_slice(&self.post);
        NewPost { content_len, stored: self.room.split().freeze() }
    }
}

/// Lays the bytes of posts out one behind the other, in one allocation: whoever reads them in order finds the next one in
/// the processor's cache.
fn gather(posts: &mut [NewPost]) {
    let mut all = BytesMut::with_capacity(posts.iter().map(|post| post.stored.len()).sum());
    posts.iter().for_each(|post| all.extend_from_slice(&post.stored));
    let mut all = all.freeze();
    posts.iter_mut().for_each(|post| post.stored = all.split_to(post.stored.len()));
}

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
