//! Client streaming: a stream of requests, one response.
//!
//! Posts are stored as they come, not at the end: an upload of any length costs the server the same memory. The
//! finish exists because a server cannot tell a cancelled upload from an ended one.

use std::{collections::VecDeque, mem::replace};

use futures::{FutureExt as _, StreamExt as _};
use quartet::{
    borrowed::PostRef,
    limits::{ID_CHARS, LISTED_REJECTS},
    post::v1::{LogPosition, UploadFinish, UploadPostsResponse, UploadReject},
    wire::{self, UploadMessage},
};
use quartet_log::{APPEND_BYTES, APPEND_POSTS, Appending, NewPosts, Outcome};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{Posts, Submission, id_taken};
use crate::{auth::Caller, error};

/// Appends that may be on their way to the disk while the next posts are received: as many posts as one commit takes.
const APPENDS_IN_FLIGHT: usize = 8;

// ANCHOR: upload_posts
pub(super) async fn upload_posts(
    posts: &Posts,
    caller: Option<Caller>,
    mut requests: Streaming<UploadMessage>,
) -> Result<UploadPostsResponse, Status> {
    let mut upload = Upload::new(posts, caller);
    while let Some(request) = requests.next().await {
        upload.receive(request).await?;
        // Take what else is there already: posts that come together share a trip to the disk.
        while let Some(Some(request)) = requests.next().now_or_never() {
            upload.receive(request).await?;
        }
        upload.append().await?;
    }
    upload.summary().await
}
// ANCHOR_END: upload_posts

/// An upload in progress.
struct Upload<'a> {
    posts: &'a Posts,
    caller: Option<Caller>,
    /// Posts received, refused ones included: the index of the next.
    received: i64,
    finish: Option<UploadFinish>,
    /// What came together, and is not the log's yet.
    batch: Option<Batch>,
    /// Bytes of the last batch. The next one is about as large.
    batch_bytes: usize,
    in_flight: VecDeque<(Sent, Appending)>,
    response: UploadPostsResponse,
}

/// Posts that are accepted together, at one time.
struct Batch {
    now: Instant,
    posts: NewPosts,
    sent: Sent,
}

/// What is known of the posts of a batch while the log has them, in their order: an id that is taken is known late.
#[derive(Default)]
struct Sent {
    /// The index of each in the upload, and where its id ends in `ids`.
    posts: Vec<(i64, usize)>,
    ids: String,
}

impl Sent {
    fn push(&mut self, index: i64, post_id: &str) {
        self.ids.push_str(post_id);
        self.posts.push((index, self.ids.len()));
    }

    /// The index and the id of each.
    fn iter(&self) -> impl Iterator<Item = (i64, &str)> {
        let mut start = 0;
        self.posts
            .iter()
            .map(move |(index, end)| (*index, &self.ids[replace(&mut start, *end)..*end]))
    }
}

impl<'a> Upload<'a> {
    fn new(posts: &'a Posts, caller: Option<Caller>) -> Self {
        let response = UploadPostsResponse {
            position: Some(posts.position(0)),
            ..UploadPostsResponse::default()
        };
        Self {
            posts,
            caller,
            received: 0,
            finish: None,
            batch: None,
            batch_bytes: 0,
            in_flight: VecDeque::new(),
            response,
        }
    }

    /// Takes a message in. If it ends the upload, what came before it is stored first.
    async fn receive(&mut self, request: Result<UploadMessage, Status>) -> Result<(), Status> {
        let taken = self.take(request).await;
        if taken.is_err() {
            self.append().await?;
            self.settle_all().await?;
        }
        taken
    }

    async fn take(&mut self, request: Result<UploadMessage, Status>) -> Result<(), Status> {
        let request = request.map_err(|status| error::of_upload_message(self.received, &status))?;
        let refuse = |what| Err(error::upload_protocol(self.received, what));
        match (request, &self.finish) {
            (UploadMessage::Post(post), None) => self.post(&post).await,
            (UploadMessage::Finish(finish), None) => {
                self.finish = Some(finish);
                Ok(())
            }
            (UploadMessage::Post(_), Some(_)) => refuse("a post after the finish"),
            (UploadMessage::Finish(_), Some(_)) => refuse("a second finish"),
            (UploadMessage::Unset, _) => refuse("no payload is set"),
        }
    }

    async fn post(&mut self, message: &[u8]) -> Result<(), Status> {
        let index = self.received;
        let undecodable = |why| error::of_upload_message(index, &wire::undecodable(why));
        let post = PostRef::decode(message).map_err(undecodable)?;
        self.received += 1;
        let batch = self.batch.get_or_insert_with(|| Batch {
            now: Instant::now(),
            posts: self.posts.new_posts(self.batch_bytes),
            sent: Sent::default(),
        });
        match self.posts.submission(self.caller.as_ref(), post, batch.now).await? {
            Submission::Refused(status) => self.reject(index, post.post_id, &status),
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

    /// Hands the batch to the log, in order, and does not wait for the disk unless it is far behind.
    async fn append(&mut self) -> Result<(), Status> {
        let Some(Batch { posts, sent, .. }) = self.batch.take() else { return Ok(()) };
        if posts.is_empty() {
            return Ok(());
        }
        self.batch_bytes = posts.size();
        let appending = self.posts.log.append(posts).await.map_err(error::of_log)?;
        self.in_flight.push_back((sent, appending));
        while self.in_flight.len() > APPENDS_IN_FLIGHT {
            self.settle().await?;
        }
        Ok(())
    }

    /// Counts the outcomes of the oldest append.
    async fn settle(&mut self) -> Result<(), Status> {
        let Some((sent, appending)) = self.in_flight.pop_front() else { return Ok(()) };
        for ((index, post_id), outcome) in sent.iter().zip(appending.await.map_err(error::of_log)?)
        {
            match outcome {
                Outcome::Created(sequence) => {
                    self.response.created_count += 1;
                    self.reached(sequence);
                }
                Outcome::Duplicate(sequence) => {
                    self.response.duplicate_count += 1;
                    self.reached(sequence);
                }
                Outcome::IdTaken => self.reject(index, post_id, &id_taken(post_id)),
            }
        }
        Ok(())
    }

    async fn settle_all(&mut self) -> Result<(), Status> {
        while !self.in_flight.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    fn reached(&mut self, sequence: u64) {
        let position = self.response.position.get_or_insert_with(LogPosition::default);
        position.sequence = position.sequence.max(sequence as i64);
    }

    fn reject(&mut self, index: i64, post_id: &str, status: &Status) {
        self.response.reject_count += 1;
        self.response.rejects.push(UploadReject {
            index,
            post_id: wire::truncate(post_id, ID_CHARS).to_owned(),
            status: Some(error::embedded(status)),
        });
        // An id that is taken is known later than what is invalid: keep the first ones, in the order sent.
        self.response.rejects.sort_by_key(|reject| reject.index);
        self.response.rejects.truncate(LISTED_REJECTS);
    }

    async fn summary(mut self) -> Result<UploadPostsResponse, Status> {
        self.settle_all().await?;
        self.response.complete =
            self.finish.is_some_and(|finish| finish.post_count == self.received);
        Ok(self.response)
    }
}
