//! What a log of posts does: an ordered, durable sequence of posts, each stored once.
//!
//! Guarantees of every implementation, proved by one conformance suite (`conformance.rs`):
//! - Sequences are 1, 2, 3 … without holes, in the order in which appends were taken in.
//! - A post is acknowledged, counted in `head` and readable only once it is durable; after that it
//!   is never lost.
//! - A `post_id` is stored at most once, ever. A duplicate is acknowledged only once its original
//!   is durable.
//! - After a failed write nothing more is acknowledged.
//! - Records carry a chain value over all records up to them; equal logs have equal values.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::{oneshot, watch};

use crate::{
    error::LogError,
    new_posts::NewPosts,
    records::{Limit, Record, Records},
};

/// An ordered log of posts.
///
/// Every method is cancel-safe: dropping its future loses no post that was taken in. Implement it
/// with [`async_trait`](https://docs.rs/async-trait).
#[async_trait::async_trait]
pub trait PostLog: Send + Sync + std::fmt::Debug + 'static {
    /// The random name that the log got when it was created.
    fn log_id(&self) -> &str;

    /// The newest durable sequence, 0 for an empty log. It never decreases.
    fn head(&self) -> watch::Receiver<u64>;

    /// Takes posts in. The result resolves to an [`Outcome`] per post.
    ///
    /// Waits for room while the log is busy. Once it returns, the order of the posts is fixed:
    /// appends are stored in the order in which they were taken in, whether or not the caller waits
    /// for the outcome. Callers keep an append to at most [`APPEND_POSTS`] posts and
    /// [`APPEND_BYTES`] bytes.
    ///
    /// # Errors
    /// The log is closed, read-only or has failed; then no post was taken in.
    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError>;

    /// Reads posts with a sequence greater than `after`, in order.
    ///
    /// Returns at least one post unless `after` is at or past the head; it may return fewer posts
    /// than `limit` allows.
    ///
    /// # Errors
    /// The next post is damaged, or the disk fails.
    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError>;

    /// Reads the posts of one user with a sequence greater than `after`, in order, through an
    /// index.
    ///
    /// # Errors
    /// The user's next post is damaged, or the disk fails.
    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError>;

    /// The chain value at a sequence: 64 bits over all records up to it, equal in every log that
    /// holds the same records in the same order. 0 before the first post. One read.
    ///
    /// # Errors
    /// The post is damaged, or the disk fails.
    async fn chain(&self, sequence: u64) -> Result<u64, LogError> {
        let Some(before) = sequence.checked_sub(1) else { return Ok(0) };
        let records = self.read(before, Limit { posts: 1, bytes: 0 }).await?;
        Ok(records.last().map_or(0, |record| record.chain))
    }

    /// Waits until the log has failed: it takes no more posts until it is opened again. Pends
    /// forever if the log cannot fail.
    async fn failed(&self) {
        std::future::pending().await
    }

    /// Stores what was taken in, then refuses further appends.
    ///
    /// When it returns, no task of the log is left. Reads still work. May be called again.
    ///
    /// # Errors
    /// The log had failed; this is why.
    async fn close(&self) -> Result<(), LogError>;
}

/// Most posts in one append.
pub const APPEND_POSTS: usize = 512;
/// Most bytes of content in one append (no single post may exceed it).
pub const APPEND_BYTES: usize = 1024 * 1024;

/// The result of appending one post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, with this sequence.
    Created(u64),
    /// Stored earlier with the same content, with this sequence.
    Duplicate(u64),
    /// Another post has its id; nothing was stored.
    IdTaken,
}

/// An append that was taken in: resolves to an outcome per post, in their order, once all are
/// durable.
///
/// Dropping it changes nothing: the posts are stored all the same.
#[derive(Debug)]
pub struct Appending(oneshot::Receiver<Result<Vec<Outcome>, LogError>>);

impl Appending {
    /// A sender for the outcomes and the future that resolves to them. If the sender is dropped,
    /// the future resolves to [`LogError::Closed`].
    pub fn new() -> (oneshot::Sender<Result<Vec<Outcome>, LogError>>, Self) {
        let (outcomes, receiver) = oneshot::channel();
        (outcomes, Self(receiver))
    }
}

impl Future for Appending {
    type Output = Result<Vec<Outcome>, LogError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A dropped sender means that the writer is gone.
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or(Err(LogError::Closed)))
    }
}

/// A page of one user's posts.
#[derive(Debug, Clone)]
pub struct UserPage {
    /// The posts, in log order.
    pub records: Vec<Record>,
    /// Every post of the user up to this sequence is in this page or an earlier one: the last
    /// record's sequence if there is `more`, else the head.
    pub position: u64,
    /// Whether the user has posts after `position`.
    pub more: bool,
}

impl UserPage {
    /// The page that holds `records` out of `matching` ones, in a log with this head.
    pub(crate) fn new(records: Vec<Record>, matching: usize, head: u64) -> Self {
        let more = records.len() < matching;
        let position = match records.last() {
            Some(last) if more => last.sequence,
            _ => head,
        };
        Self { records, position, more }
    }
}
