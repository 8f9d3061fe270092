//! Posts on their way into a log, encoded once, in the buffer from which they are written.
//!
//! They stand one behind the other in one allocation, each after room for the header that a log on
//! disk writes before it. A handler encodes posts into the buffer, the log's writer writes the same
//! bytes, and readers share them: no copy in between, and 16 bytes of bookkeeping per post.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use quartet::{
    encoded::{self, PostRef, PostView},
    post::v1::PostMessage,
};

use crate::segment::{self, BATCH_HEADER_LEN, RECORD_HEADER_LEN};

/// Valid posts to be appended together, in this order.
#[derive(Debug, Clone)]
pub struct NewPosts {
    /// Room for the header of a batch, then each post after room for the header of its record.
    pub(crate) bytes: Vec<u8>,
    pub(crate) posts: Vec<PostSpan>,
    /// The encoded field `create_time`, the same for all posts.
    create_time: Vec<u8>,
}

/// Where a post stands in the buffer, and the checksum of its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostSpan {
    /// Offset of its first byte, after its header.
    pub(crate) start: u32,
    pub(crate) len: u32,
    /// Bytes of content; the rest is `create_time`.
    pub(crate) content: u32,
    pub(crate) checksum: u32,
}

impl PostSpan {
    /// The range of the post.
    pub(crate) fn post(&self) -> Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }

    /// The range of the post with its header.
    pub(crate) fn record(&self) -> Range<usize> {
        self.start as usize - RECORD_HEADER_LEN..self.post().end
    }
}

impl NewPosts {
    /// An empty buffer with room for `bytes` bytes of posts, all created at this time.
    pub fn new(create_time: &Timestamp, bytes: usize) -> Self {
        let mut room = Vec::with_capacity(BATCH_HEADER_LEN + bytes);
        room.resize(BATCH_HEADER_LEN, 0);
        let mut encoded = Vec::new();
        encoded::append_create_time(&mut encoded, create_time);
        Self { bytes: room, posts: Vec::new(), create_time: encoded }
    }

    /// Encodes a post, which the caller has validated.
    pub fn push(&mut self, post: &PostRef<'_>) {
        self.put(|bytes, create_time| {
            encoded::encode_content(post, bytes);
            let content = bytes.len();
            bytes.extend_from_slice(create_time);
            content
        });
    }

    /// Adds the post that `write` appends. `write` gets the encoded `create_time` and returns where
    /// the content of the post ends.
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>, &[u8]) -> usize) {
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_LEN]);
        let start = self.bytes.len();
        let content = write(&mut self.bytes, &self.create_time) - start;
        let post = &self.bytes[start..];
        let (len, checksum) = (post.len() as u32, segment::post_checksum(post));
        self.posts.push(PostSpan { start: start as u32, len, content: content as u32, checksum });
    }

    /// Number of posts.
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// Whether there are no posts.
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Bytes of all posts with their headers.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Frees unused capacity.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The encoding of the `n`th post, from 0.
    pub fn stored(&self, n: usize) -> &[u8] {
        &self.bytes[self.posts[n].post()]
    }

    /// The idempotency key of the `n`th post.
    pub fn post_id(&self, n: usize) -> &str {
        PostView(self.stored(n)).post_id()
    }

    /// Whether stored bytes have the content of the `n`th post; `create_time` may differ.
    pub(crate) fn same_content(&self, n: usize, stored: &[u8]) -> bool {
        encoded::same_content(stored, &self.stored(n)[..self.posts[n].content as usize])
    }

    /// The buffer, to be shared by readers, and where the posts stand in it.
    pub(crate) fn share(self) -> (Bytes, Vec<PostSpan>) {
        (self.bytes.into(), self.posts)
    }
}

/// One encoded post.
#[derive(Debug, Clone)]
pub struct NewPost {
    /// Bytes of content in `stored`; the rest is `create_time`.
    pub(crate) content_len: usize,
    pub(crate) stored: Bytes,
}

impl NewPost {
    /// Encodes a post, which the caller has validated.
    pub fn of(post: &PostMessage, create_time: Timestamp) -> Self {
        let message = post.encode_to_vec();
        let post = PostRef::decode(&message).expect("invariant: it was encoded above");
        let mut stored = Vec::new();
        encoded::encode_content(&post, &mut stored);
        let content_len = stored.len();
        encoded::append_create_time(&mut stored, &create_time);
        Self { content_len, stored: stored.into() }
    }

    /// The idempotency key.
    pub fn post_id(&self) -> &str {
        PostView(&self.stored).post_id()
    }

    /// The user who wrote it.
    pub fn user_id(&self) -> &str {
        PostView(&self.stored).user_id()
    }

    /// The bytes to store.
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    /// Whether stored bytes have the same content; `create_time` may differ.
    pub fn same_content(&self, stored: &[u8]) -> bool {
        encoded::same_content(stored, &self.stored[..self.content_len])
    }
}

impl FromIterator<NewPost> for NewPosts {
    fn from_iter<P: IntoIterator<Item = NewPost>>(posts: P) -> Self {
        let mut all = NewPosts::new(&Timestamp::default(), 0);
        for post in posts {
            all.put(|bytes, _| {
                bytes.extend_from_slice(&post.stored);
                bytes.len() - (post.stored.len() - post.content_len)
            });
        }
        all
    }
}

impl From<Vec<NewPost>> for NewPosts {
    fn from(posts: Vec<NewPost>) -> Self {
        posts.into_iter().collect()
    }
}

impl IntoIterator for NewPosts {
    type Item = NewPost;
    type IntoIter = std::vec::IntoIter<NewPost>;

    /// Posts one by one, which share the buffer.
    fn into_iter(self) -> Self::IntoIter {
        let (bytes, spans) = self.share();
        let post = |span: PostSpan| NewPost {
            content_len: span.content as usize,
            stored: bytes.slice(span.post()),
        };
        spans.into_iter().map(post).collect::<Vec<_>>().into_iter()
    }
}
