//! The posts of an upload on their way to the disk.
//!
//! Posts that arrive together share an append, and a few appends may be in flight while further
//! posts are received. An upload of any length uses constant memory, and its posts are stored in
//! the order sent.

use std::{collections::VecDeque, mem::replace};

use quartet::{encoded::PostRef, post::v1::UploadPostsResponse};
use quartet_log::{APPEND_BYTES, APPEND_POSTS, Appending, NewPosts};
use tokio::time::Instant;
use tonic::Status;

use super::{
    store::{PostStore, Submission},
    tally::Tally,
};
use crate::{auth::Caller, error};

/// Maximum number of appends in flight: together as many posts as one commit takes.
const APPENDS_IN_FLIGHT: usize = 8;

/// The posts of one upload.
pub(crate) struct Pipeline {
    posts: PostStore,
    caller: Option<Caller>,
    /// Posts that arrived together and are not appended yet.
    batch: Option<UploadBatch>,
    /// Bytes of the last batch, as an estimate for the next.
    batch_bytes: usize,
    in_flight: VecDeque<(Sent, Appending)>,
    tally: Tally,
}

/// Posts that are accepted together, with one time.
struct UploadBatch {
    now: Instant,
    posts: NewPosts,
    sent: Sent,
}

/// The indices and ids of a batch, in order. They are needed later: only the log finds a taken id.
#[derive(Default)]
struct Sent {
    /// The index of each post in the upload, and where its id ends in `ids`.
    posts: Vec<(i64, usize)>,
    ids: String,
}

impl Sent {
    fn push(&mut self, index: i64, post_id: &str) {
        self.ids.push_str(post_id);
        self.posts.push((index, self.ids.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (i64, &str)> {
        let mut start = 0;
        self.posts
            .iter()
            .map(move |(index, end)| (*index, &self.ids[replace(&mut start, *end)..*end]))
    }
}

impl Pipeline {
    /// An upload by this caller, without posts so far.
    pub(crate) fn new(posts: &PostStore, caller: Option<Caller>) -> Self {
        Self {
            posts: posts.clone(),
            caller,
            batch: None,
            batch_bytes: 0,
            in_flight: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Adds the post with this index to the batch, or counts it as refused.
    ///
    /// # Errors
    /// The log or the User service failed. The upload must end.
    pub(crate) async fn push(&mut self, index: i64, post: PostRef<'_>) -> Result<(), Status> {
        let batch = self.batch.get_or_insert_with(|| UploadBatch {
            now: Instant::now(),
            posts: self.posts.new_posts(self.batch_bytes),
            sent: Sent::default(),
        });
        match self.posts.submission(self.caller.as_ref(), post, batch.now).await? {
            Submission::Refused(status) => self.tally.reject(index, post.post_id, &status),
            Submission::Accepted(post) => {
                batch.posts.push(&post);
                batch.sent.push(index, post.post_id);
                if batch.posts.len() >= APPEND_POSTS || batch.posts.size() >= APPEND_BYTES / 2 {
                    self.append().await?;
                }
            }
        }
        Ok(())
    }

    /// Appends the batch. Waits for the disk only if too many appends are in flight.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub(crate) async fn append(&mut self) -> Result<(), Status> {
        let Some(UploadBatch { posts, sent, .. }) = self.batch.take() else { return Ok(()) };
        if posts.is_empty() {
            return Ok(());
        }
        self.batch_bytes = posts.size();
        let appending = self.posts.log.append(posts).await.map_err(error::of_log)?;
        self.in_flight.push_back((sent, appending));
        while self.in_flight.len() > APPENDS_IN_FLIGHT {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    /// Appends the batch and waits until everything is on disk.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub(crate) async fn settle(&mut self) -> Result<(), Status> {
        self.append().await?;
        while !self.in_flight.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), Status> {
        let Some((sent, appending)) = self.in_flight.pop_front() else { return Ok(()) };
        let outcomes = appending.await.map_err(error::of_log)?;
        for ((index, post_id), outcome) in sent.iter().zip(outcomes) {
            self.tally.count(index, post_id, outcome);
        }
        Ok(())
    }

    /// The outcomes of the settled posts.
    pub(crate) async fn into_response(self, complete: bool) -> UploadPostsResponse {
        // The posts are stored: a log that cannot read the last of them must not hide it. Then the
        // position is an unchecked one.
        let position = self.posts.stored_position(self.tally.highest()).await;
        self.tally.into_response(position, complete)
    }
}
