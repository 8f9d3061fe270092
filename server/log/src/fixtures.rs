//! What the tests of logs share: posts, options, and appending and reading everything.

use std::{collections::HashMap, future::Future, time::Duration};

use quartet::post::v1::PostMessage;
use tokio::time::timeout;

use crate::{
    embedded::{options::LogOptions, ring::RingLimits},
    new_posts::NewPost,
    post_log::{Outcome, PostLog},
    records::{Limit, Record},
    segment::Identity,
};

/// No limit.
pub(crate) const ALL: Limit = Limit { posts: usize::MAX, bytes: usize::MAX };

/// A post by `alice` whose content is derived from its id.
pub(crate) fn post(post_id: &str) -> NewPost {
    post_by("alice", post_id, &format!("body of {post_id}"))
}

pub(crate) fn post_by(user_id: &str, post_id: &str, body: &str) -> NewPost {
    let post = PostMessage {
        post_id: post_id.to_owned(),
        user_id: user_id.to_owned(),
        title: "title".to_owned(),
        body: body.to_owned(),
        ..PostMessage::default()
    };
    NewPost::of(&post, prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 })
}

/// Appends posts and waits until all are durable.
pub(crate) async fn append(log: &dyn PostLog, posts: Vec<NewPost>) -> Vec<Outcome> {
    log.append(posts.into()).await.unwrap().await.unwrap()
}

/// Every post, read in small pages.
pub(crate) async fn read_all(log: &dyn PostLog) -> Vec<Record> {
    let (mut records, head) = (Vec::<Record>::new(), *log.head().borrow());
    while (records.len() as u64) < head {
        let limit = Limit { posts: 7, bytes: 400 };
        let page = log.read(records.len() as u64, limit).await.unwrap();
        assert!(!page.is_empty(), "a read before the head {head} returned nothing");
        records.extend(page.iter().cloned());
    }
    records
}

/// Fails a test whose future does not end; none of them takes long.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work).await.expect("it did not end within a minute")
}

/// Indexes posts by their ids, each of which may occur once.
pub(crate) fn by_id(records: &[Record]) -> HashMap<String, Record> {
    let found: HashMap<_, _> =
        records.iter().map(|r| (r.view().post_id().to_owned(), r.clone())).collect();
    assert_eq!(found.len(), records.len(), "an id is stored twice");
    found
}

/// Segments of a few posts.
pub(crate) fn small_segments() -> LogOptions {
    let identity = Identity { log_id: 7, salt: 11 };
    LogOptions { segment_bytes: 390, identity, ..LogOptions::default() }
}

/// No post is kept in memory: every read goes to the disk.
pub(crate) fn no_ring() -> LogOptions {
    LogOptions { ring: RingLimits { posts: 0, bytes: 0 }, ..small_segments() }
}

/// Every id has one of two hashes, and few posts are kept in memory.
pub(crate) fn colliding() -> LogOptions {
    let ring = RingLimits { posts: 5, bytes: 1 << 20 };
    LogOptions { hash_id: |_, post_id| (post_id.len() % 2) as u32, ring, ..small_segments() }
}
