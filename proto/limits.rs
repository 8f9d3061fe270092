//! Every limit of the contract. The comments of the `.proto` files have the same numbers.

use std::time::Duration;

/// Characters of a `post_id` or `user_id`.
pub const ID_CHARS: usize = 64;
/// Characters of a title.
pub const TITLE_CHARS: usize = 256;
/// Bytes of a body.
pub const BODY_BYTES: usize = 64 * 1024;
/// Tags of one post.
pub const TAGS_PER_POST: usize = 16;
/// Characters of a tag.
pub const TAG_CHARS: usize = 64;
/// Characters of an author's name.
pub const AUTHOR_CHARS: usize = 256;

/// Tags, and user ids, that a `ListPosts` filter may name.
pub const FILTER_TERMS: usize = 64;
/// Tags that one feed may follow.
pub const FEED_TAGS: usize = 1024;

/// Bytes of a request message. The largest valid post has about 70 KiB; the rest is room for
/// unknown fields.
pub const REQUEST_BYTES: usize = 256 * 1024;
/// Posts in one message of a stream.
pub const BATCH_POSTS: usize = 256;
/// Bytes of stored posts in one message of a stream; one post alone may be larger.
pub const BATCH_BYTES: usize = 64 * 1024;
/// Posts in one unary page.
pub const PAGE_POSTS: usize = 1000;
/// Bytes of a unary response.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Rejects that an upload lists; the others are only counted.
pub const LISTED_REJECTS: usize = 100;
/// Outstanding receipts of a feed at which the server stops reading its requests.
pub const OWED_RECEIPTS: usize = 64;
/// Idle time of a followed stream before it sends a bookmark: many proxies cut idle streams after
/// 60 seconds.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Silence after which a client takes such a stream for lost and resumes it: two heartbeats that
/// did not come, and time for a slow link. A proxy can keep the end of a call to itself.
pub const SILENCE: Duration = Duration::from_secs(40);
/// Silence after which the client of a feed asks for a bookmark, because some proxies cut a request
/// of which nothing came for 60 seconds.
pub const REQUEST_HEARTBEAT: Duration = Duration::from_secs(30);
/// Posts that a reader skips before it sends a bookmark, so that a resumed call does not examine
/// them again.
pub const SKIPPED_POSTS: u64 = 10_000;
