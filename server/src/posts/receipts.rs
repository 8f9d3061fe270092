//! The receipts of a feed: one per published post, in publish order.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, ready},
};

use futures::{FutureExt as _, future::BoxFuture};
use prost::Message as _;
use quartet::{
    codec,
    encoded::PostRef,
    limits::{ID_CHARS, OWED_RECEIPTS},
    post::v1::{PostMessage, Receipt},
};
use quartet_log::{Appending, LogError, Outcome};
use tokio::time::Instant;
use tonic::Status;

use super::store::{PostStore, Submission, id_taken};
use crate::{auth::Caller, error};

/// The outstanding receipts of a feed.
pub(crate) struct Receipts {
    posts: PostStore,
    /// The writer. Boxed: most feeds have none.
    caller: Option<Box<Caller>>,
    /// A post that is being checked or waits for room in the log.
    publishing: Option<BoxFuture<'static, Result<Owed, Status>>>,
    /// In publish order.
    owed: VecDeque<Owed>,
}

/// An outstanding receipt: of a post on its way to the disk, or of a refused one.
struct Owed {
    post_id: String,
    outcome: Result<Appending, Status>,
}

impl Receipts {
    /// No receipt is outstanding; `caller` writes the posts.
    pub(crate) fn new(posts: &PostStore, caller: Option<&Caller>) -> Self {
        let caller = caller.cloned().map(Box::new);
        Self { posts: posts.clone(), caller, publishing: None, owed: VecDeque::new() }
    }

    /// Whether another post may be published. If not, the feed reads no request, so that requests
    /// take effect in their order, and flow control stops the client.
    pub(crate) fn have_room(&self) -> bool {
        self.publishing.is_none() && self.owed.len() < OWED_RECEIPTS
    }

    /// Publishes a post. Requires [room](Self::have_room).
    pub(crate) fn publish(&mut self, post: PostMessage) {
        let (posts, caller) = (self.posts.clone(), self.caller.clone());
        self.publishing = Some(publish(posts, caller, post).boxed());
    }

    /// Waits for the oldest receipt, or returns `None` when the log has accepted a post: there may
    /// be room again, which a `select!` tests only when it begins. Never ready if no receipt is
    /// outstanding. Cancel-safe.
    ///
    /// # Errors
    /// The outcome of a post is unknown. If it was the oldest, later posts get no receipt either,
    /// because receipts come in order.
    pub(crate) fn next(&mut self) -> impl Future<Output = Result<Option<Receipt>, Status>> {
        // The body runs again after each wake-up; `ready!` returns "not yet".
        poll_fn(|cx| {
            if let Some(publishing) = &mut self.publishing
                && let Poll::Ready(published) = publishing.poll_unpin(cx)
            {
                self.publishing = None;
                return Poll::Ready(published.map(|owed| {
                    self.owed.push_back(owed);
                    None
                }));
            }
            let Some(Owed { post_id, outcome }) = self.owed.front_mut() else {
                return Poll::Pending;
            };
            let receipt = match outcome {
                Ok(appending) => appended(post_id, ready!(appending.poll_unpin(cx))),
                Err(refusal) => Ok(refused(post_id, refusal)),
            };
            match receipt {
                Ok(_) => drop(self.owed.pop_front()),
                Err(_) => {
                    self.publishing = None;
                    self.owed.clear();
                }
            }
            Poll::Ready(receipt.map(Some))
        })
    }

    /// The next receipt of a feed that publishes no more posts; `None` after the last.
    pub(crate) async fn last(&mut self) -> Option<Result<Receipt, Status>> {
        while self.publishing.is_some() || !self.owed.is_empty() {
            if let Some(receipt) = self.next().await.transpose() {
                return Some(receipt);
            }
        }
        None
    }
}

// ANCHOR: publish
/// Checks a post and appends it to the log.
async fn publish(
    posts: PostStore,
    caller: Option<Box<Caller>>,
    post: PostMessage,
) -> Result<Owed, Status> {
    let message = post.encode_to_vec();
    let sent = PostRef::decode(&message).map_err(codec::undecodable)?;
    let outcome = match posts.submission(caller.as_deref(), sent, Instant::now()).await? {
        Submission::Accepted(post) => {
            let mut alone = posts.new_posts(message.len());
            alone.push(&post);
            Ok(posts.log.append(alone).await.map_err(error::of_log)?)
        }
        Submission::Refused(status) => Err(status),
    };
    Ok(Owed { post_id: post.post_id, outcome })
}

fn appended(post_id: &str, outcomes: Result<Vec<Outcome>, LogError>) -> Result<Receipt, Status> {
    let outcomes = outcomes.map_err(error::of_log)?;
    Ok(match outcomes.first().ok_or_else(error::internal)? {
        Outcome::Created(sequence) => stored(post_id, *sequence, false),
        Outcome::Duplicate(sequence) => stored(post_id, *sequence, true),
        Outcome::IdTaken => refused(post_id, &id_taken(post_id)),
    })
}
// ANCHOR_END: publish

fn stored(post_id: &str, sequence: u64, duplicate: bool) -> Receipt {
    Receipt { post_id: post_id.to_owned(), sequence: sequence as i64, duplicate, status: None }
}

fn refused(post_id: &str, status: &Status) -> Receipt {
    Receipt {
        post_id: codec::truncate(post_id, ID_CHARS).to_owned(),
        status: Some(error::embedded(status)),
        ..Receipt::default()
    }
}
