//! Converts messages of the contract to the events of a history.

use std::hash::Hasher as _;

use quartet::post::v1::{
    JoinTags, ListPostsByUserIdRequest, ListPostsByUserIdResponse, ListPostsRequest,
    ListPostsResponse, LogPosition, PostMessage, Receipt, UploadPostsResponse,
    tag_feed_response::Payload,
};
use quartet_channel::CallError;
use quartet_client::Error;
use quartet_wire::code;
use siphasher::sip::SipHasher13;

use crate::history::{Ended, Follows, Opened, Outcome, Position, Post, Rpc, Uploaded, What};

impl From<&PostMessage> for Post {
    fn from(post: &PostMessage) -> Self {
        let mut digest = SipHasher13::new();
        for text in [&post.title, &post.body] {
            digest.write_usize(text.len());
            digest.write(text.as_bytes());
        }
        Self {
            post_id: post.post_id.clone(),
            user_id: post.user_id.clone(),
            tags: post.tags.clone(),
            digest: format!("{:016x}", digest.finish()),
            author: post.author.clone(),
            sequence: post.sequence,
            chain: 0,
        }
    }
}

impl From<&Option<LogPosition>> for Position {
    /// A missing position becomes one that no promise allows.
    fn from(position: &Option<LogPosition>) -> Self {
        match position {
            Some(LogPosition { log_id, sequence, chain }) => {
                Self { log_id: log_id.clone(), sequence: *sequence, chain: *chain }
            }
            None => Self { log_id: "missing".to_owned(), sequence: -1, chain: 0 },
        }
    }
}

/// The start of a list.
pub fn list(request: &ListPostsRequest) -> What {
    let follows = Follows {
        all_tags: request.tags.is_empty(),
        tags: request.tags.iter().cloned().collect(),
        user_ids: request.user_ids.iter().cloned().collect(),
    };
    opened(Rpc::List, &request.resume_after, follows, request.follow)
}

/// The start of a page.
pub fn page(request: &ListPostsByUserIdRequest) -> What {
    let follows = Follows { user_ids: [request.user_id.clone()].into(), ..Follows::all() };
    opened(Rpc::Page, &request.resume_after, follows, false)
}

/// The start of a feed, with its first join, if any.
pub fn feed(join: Option<&JoinTags>) -> What {
    let after = match join {
        Some(JoinTags { from_oldest: true, .. }) => Some(LogPosition::default()),
        Some(join) => join.resume_after.clone(),
        None => None,
    };
    opened(Rpc::Feed, &after, Follows::default(), true)
}

/// The start of an upload.
pub fn upload() -> What {
    opened(Rpc::Upload, &None, Follows::default(), false)
}

fn opened(rpc: Rpc, after: &Option<LogPosition>, follows: Follows, stays: bool) -> What {
    let after = after.is_some().then(|| after.into());
    What::Opened(Opened { rpc, after, follows, stays })
}

/// A post about to be sent.
pub fn sent(post: &PostMessage) -> What {
    What::Sent { post: post.into() }
}

/// A message of a list.
pub fn batch(response: &ListPostsResponse) -> What {
    posts(&response.post_messages, &response.position, response.snapshot_complete)
}

/// A page.
pub fn page_answer(response: &ListPostsByUserIdResponse) -> What {
    posts(&response.post_messages, &response.position, !response.truncated)
}

fn posts(posts: &[PostMessage], position: &Option<LogPosition>, complete: bool) -> What {
    let posts = posts.iter().map(Post::from).collect();
    What::Posts { posts, position: position.into(), complete }
}

/// A message of a feed.
pub fn feed_message(payload: &Payload) -> What {
    let follows = |tags: &[String], all_tags| Follows { all_tags, ..Follows::tags(tags) };
    match payload {
        Payload::Joined(joined) => What::Follows {
            follows: follows(&joined.tags, joined.all_tags),
            position: (&joined.position).into(),
        },
        Payload::Left(left) => What::Follows {
            follows: follows(&left.tags, left.all_tags),
            position: (&left.position).into(),
        },
        Payload::Posts(batch) => posts(&batch.post_messages, &batch.position, false),
        Payload::Receipt(receipt) => receipt_event(receipt),
        Payload::Bookmark(bookmark) => {
            What::Bookmark { position: (&bookmark.position).into(), caught_up: bookmark.caught_up }
        }
    }
}

fn receipt_event(receipt: &Receipt) -> What {
    let sequence = receipt.sequence;
    let outcome = match &receipt.status {
        Some(status) => Outcome::Refused { code: code(status.code) },
        None if receipt.duplicate => Outcome::Duplicate { sequence },
        None => Outcome::Created { sequence },
    };
    What::Receipt { post_id: receipt.post_id.clone(), outcome }
}

/// The answer to an upload.
pub fn uploaded(response: &UploadPostsResponse) -> What {
    let refusals = response.rejects.iter().map(|reject| {
        let status = reject.status.as_ref().map_or(0, |status| status.code);
        (reject.index.cast_unsigned(), code(status))
    });
    What::Uploaded(Uploaded {
        created: response.created_count.cast_unsigned(),
        duplicates: response.duplicate_count.cast_unsigned(),
        refused: response.reject_count.cast_unsigned(),
        refusals: refusals.collect(),
        position: (&response.position).into(),
        complete: response.complete,
    })
}

/// A call that ended.
pub fn ended(result: Result<(), &Error>) -> What {
    let (code, reason) = match result {
        Ok(()) => ("OK", None),
        Err(Error::Call(CallError::Local(status) | CallError::Status(status))) => {
            (code::name(status.code()), None)
        }
        Err(Error::Protocol(what)) => ("PROTOCOL", Some(what.clone())),
        Err(Error::Truncated) => ("TRUNCATED", None),
        Err(_) => ("LOST", None),
    };
    let reason = reason.or_else(|| result.err()?.reason()).unwrap_or_default();
    What::Ended(Ended { code: code.to_owned(), reason })
}

/// A call that its client gave up.
pub fn left() -> What {
    What::Ended(Ended { code: "LEFT".to_owned(), reason: String::new() })
}

fn code(number: i32) -> String {
    code::name(number.into()).to_owned()
}
