//! The state that all handlers of the Post service share: the log, the authors and the clock.

use std::{ops::Deref, sync::Arc, time::SystemTime};

use quartet::{encoded::PostRef, page::Page, post::v1::LogPosition, reason};
use quartet_log::{Dispatchers, NewPosts, PostLog, Record};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{authors::Authors, frame_cache::FrameCache};
use crate::{
    auth::{self, Caller},
    error, validate,
};

/// The Post service over a log. Clones share it: every stream holds one.
#[derive(Debug, Clone)]
pub struct PostStore(Arc<Parts>);

/// The parts of a [`PostStore`].
#[derive(Debug)]
pub struct Parts {
    /// The posts.
    pub log: Arc<dyn PostLog>,
    /// Wakes the readers that wait for posts.
    pub dispatchers: Dispatchers,
    /// The names of writers.
    pub authors: Authors,
    /// Encoded messages that feeds share.
    pub frames: FrameCache,
    /// The clock of `create_time`.
    pub clock: fn() -> SystemTime,
}

impl Deref for PostStore {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// A checked post: accepted for the log, or refused for good.
pub(crate) enum Submission<'a> {
    Accepted(PostRef<'a>),
    Refused(Status),
}

impl PostStore {
    /// A store of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Checks a post, and that its caller may write it. A refusal is final and concerns this post
    /// alone. An error ends the call, and the writer may retry.
    pub(crate) async fn submission<'a>(
        &self,
        caller: Option<&'a Caller>,
        post: PostRef<'a>,
        now: Instant,
    ) -> Result<Submission<'a>, Status> {
        let own = auth::as_writer(caller, post);
        let post = match own.and_then(|post| validate::post(&post).map(|()| post)) {
            Ok(post) => post,
            Err(refusal) => return Ok(Submission::Refused(refusal)),
        };
        let known = self.authors.knows(post.user_id, now);
        if known || self.authors.get(post.user_id).await?.is_some() {
            return Ok(Submission::Accepted(post));
        }
        let message = format!("no user has the id {}", post.user_id);
        Ok(Submission::Refused(error::status(Code::NotFound, reason::USER_NOT_FOUND, message)))
    }

    /// An empty batch with room for this many bytes. Its posts get the current time.
    pub(crate) fn new_posts(&self, bytes: usize) -> NewPosts {
        NewPosts::new(&(self.clock)().into(), bytes)
    }

    /// The position of a sequence in this log.
    ///
    /// # Errors
    /// The log cannot read the post there.
    pub(crate) async fn position(&self, sequence: u64) -> Result<LogPosition, Status> {
        let chain = self.log.chain(sequence).await.map_err(error::of_log)?;
        Ok(self.position_with(sequence, chain))
    }

    /// The position of a post that was just stored; without a chain value if it cannot be read.
    pub(crate) async fn stored_position(&self, sequence: u64) -> LogPosition {
        self.position(sequence).await.unwrap_or_else(|error| {
            tracing::warn!(%error, sequence, "an upload's position has no chain value");
            self.position_with(sequence, 0)
        })
    }

    fn position_with(&self, sequence: u64, chain: u64) -> LogPosition {
        LogPosition { log_id: self.log.log_id().to_owned(), sequence: sequence as i64, chain }
    }

    /// Joins posts with their authors.
    pub(crate) async fn page<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
        position: u64,
        flag: bool,
    ) -> Result<Page, Status> {
        let last = records.clone().last().filter(|last| last.sequence == position);
        let posts = self.authors.join(records).await?;
        let position = match last {
            Some(last) => self.position_with(position, last.chain),
            None => self.position(position).await?,
        };
        Ok(Page { posts, position, flag })
    }
}

/// The refusal of a post whose id belongs to another post.
pub(crate) fn id_taken(post_id: &str) -> Status {
    let message = format!("another post has the id {post_id}");
    error::status(Code::AlreadyExists, reason::POST_ID_TAKEN, message)
}
