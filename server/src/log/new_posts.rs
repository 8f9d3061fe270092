//! Posts on their way into a log, encoded once, where they are written from.
//!
//! They lie one behind the other in one allocation, each behind room for what a log on disk writes before it. What
//! brings posts in encodes them into it, the log's writer writes these bytes, and the log's readers share them: nobody
//! copies them in between, and what a post costs beside its bytes is 16 bytes of where it stands.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use quartet::{
    encoded::{self, PostRef, PostView},
    post::v1::PostMessage,
};

use super::segment::{self, BATCH_HEADER_LEN, RECORD_HEADER_LEN};

/// Valid posts that are accepted together and wait for their places. The order is theirs.
#[derive(Debug, Clone)]
pub struct NewPosts {
    /// Room for the header of a batch, then each post behind room for the header of its record.
    pub(super) bytes: Vec<u8>,
    pub(super) posts: Vec<Place>,
    /// Encoded.
    create_time: Vec<u8>,
}

/// Where a post stands, and what is known of its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its first byte. Its header precedes it.
    pub(super) start: u32,
    pub(super) len: u32,
    /// Bytes of content; the rest is `create_time`.
    pub(super) content: u32,
    pub(super) checksum: u32,
}

impl Place {
    /// The post.
    pub(super) fn post(&self) -> Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }

    /// The post with its header.
    pub(super) fn record(&self) -> Range<usize> {
        self.start as usize - RECORD_HEADER_LEN..self.post().end
    }
}

impl NewPosts {
    /// No posts yet, and room for so many bytes of them. Those that come are accepted at this time.
    pub fn new(create_time: &Timestamp, bytes: usize) -> Self {
        let mut room = Vec::with_capacity(BATCH_HEADER_LEN + bytes);
        room.resize(BATCH_HEADER_LEN, 0);
        let mut encoded = Vec::new();
        encoded::append_create_time(&mut encoded, create_time);
        Self { bytes: room, posts: Vec::new(), create_time: encoded }
    }

    /// Encodes a post. It must be valid (`validate.rs`).
    pub fn push(&mut self, post: &PostRef<'_>) {
        self.put(|bytes, create_time| {
            encoded::encode_content(post, bytes);
            let content = bytes.len();
            bytes.extend_from_slice(create_time);
            content
        });
    }

    /// Takes a post in that `write` appends; it returns where its content ends.
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>, &[u8]) -> usize) {
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_LEN]);
        let start = self.bytes.len();
        let content = write(&mut self.bytes, &self.create_time) - start;
        let post = &self.bytes[start..];
        let (len, checksum) = (post.len() as u32, segment::post_checksum(post));
        self.posts.push(Place { start: start as u32, len, content: content as u32, checksum });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// The bytes that they take.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Gives back the room that was not needed.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The bytes of the post with this number.
    pub fn stored(&self, n: usize) -> &[u8] {
        &self.bytes[self.posts[n].post()]
    }

    /// Its idempotency key.
    pub fn post_id(&self, n: usize) -> &str {
        PostView(self.stored(n)).post_id()
    }

    /// Whether stored bytes are the same post, whenever it was created.
    pub(super) fn same_content(&self, n: usize, stored: &[u8]) -> bool {
        encoded::same_content(stored, &self.stored(n)[..self.posts[n].content as usize])
    }

    /// All bytes, to be shared, and where posts stand in them.
    pub(super) fn share(self) -> (Bytes, Vec<Place>) {
        (self.bytes.into(), self.posts)
    }
}

/// One post, encoded: what a log stores of it.
#[derive(Debug, Clone)]
pub struct NewPost {
    /// How many bytes of `stored` are content; the rest is `create_time`.
    pub(super) content_len: usize,
    pub(super) stored: Bytes,
}

impl NewPost {
    /// Encodes a post. It must be valid (`validate.rs`).
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

    /// The writer.
    pub fn user_id(&self) -> &str {
        PostView(&self.stored).user_id()
    }

    /// The bytes to store.
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    /// Whether stored bytes are the same post, whenever it was created.
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

    /// One by one; they go on sharing their bytes.
    fn into_iter(self) -> Self::IntoIter {
        let (bytes, places) = self.share();
        let post = |place: Place| NewPost {
            content_len: place.content as usize,
            stored: bytes.slice(place.post()),
        };
        places.into_iter().map(post).collect::<Vec<_>>().into_iter()
    }
}
