//! Messages of the Post service whose posts stay encoded.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding;

use crate::{
    codec::{Decode, Encode, delimited_len, put_delimiter, put_small, put_string, string_len},
    fields::{
        Field, fields,
        post_message::{AUTHOR, SEQUENCE},
        upload_posts_request::{FINISH, POST_MESSAGE},
    },
    post::v1::{LogPosition, TagFeedResponse, UploadFinish},
};

/// Stored posts for a reader, encoded one after the other as field 1 of a message.
#[derive(Debug, Clone, Default)]
pub struct OutgoingPosts {
    encoded: BytesMut,
}

/// Bytes per post beside the stored ones: keys, lengths, the sequence, and a name of usual length.
const POST_OVERHEAD: usize = 48;

impl OutgoingPosts {
    /// An empty list with room for this many posts, of `stored` bytes in total.
    pub fn with_capacity(posts: usize, stored: usize) -> Self {
        Self { encoded: BytesMut::with_capacity(stored + posts * POST_OVERHEAD) }
    }

    /// Adds a stored post with its author's name, which is empty for an unknown user, and its
    /// sequence. Writes few and large pieces.
    pub fn push(&mut self, stored: &[u8], author: &str, sequence: i64) {
        let buf = &mut self.encoded;
        let len = stored.len()
            + string_len(AUTHOR, author)
            + encoding::int64::encoded_len(SEQUENCE, &sequence);
        put_small(buf, |buf| put_delimiter(1, len, buf));
        buf.put_slice(stored);
        put_string(AUTHOR, author, buf);
        put_small(buf, |buf| encoding::int64::encode(SEQUENCE, &sequence, buf));
    }

    /// Whether there is no post.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }
}

/// A batch of posts, encoded as `ListPostsByUserIdResponse`, `ListPostsResponse` or `PostBatch`.
///
/// The three share their fields: 1 the posts, 2 the position, 3 a flag (`truncated`,
/// `snapshot_complete`, none).
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The posts, in the order of the log.
    pub posts: OutgoingPosts,
    /// The last sequence that the page covers.
    pub position: LogPosition,
    /// `truncated` or `snapshot_complete`.
    pub flag: bool,
}

/// A message of a feed.
#[derive(Debug, Clone)]
pub enum FeedMessage {
    /// The payload `posts`.
    Posts(Page),
    /// Any other payload.
    Other(TagFeedResponse),
}

impl Encode for Page {
    fn encoded_len(&self) -> usize {
        self.posts.encoded.len()
            + encoding::message::encoded_len(2, &self.position)
            + if self.flag { encoding::bool::encoded_len(3, &true) } else { 0 }
    }

    fn encode(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.posts.encoded);
        encoding::message::encode(2, &self.position, buf);
        if self.flag {
            encoding::bool::encode(3, &true, buf);
        }
    }
}

impl Encode for FeedMessage {
    fn encoded_len(&self) -> usize {
        match self {
            FeedMessage::Posts(page) => delimited_len(3, page.encoded_len()),
            FeedMessage::Other(message) => Encode::encoded_len(message),
        }
    }

    fn encode(&self, buf: &mut impl BufMut) {
        match self {
            FeedMessage::Posts(page) => {
                put_delimiter(3, page.encoded_len(), buf);
                page.encode(buf);
            }
            FeedMessage::Other(message) => Encode::encode(message, buf),
        }
    }
}

/// An `UploadPostsRequest` whose post stays encoded, because the log stores the bytes.
#[derive(Debug, Clone)]
pub enum UploadMessage {
    /// A `PostMessage`, to be read with [`PostRef::decode`](crate::encoded::PostRef::decode).
    Post(Bytes),
    /// The end of the upload.
    Finish(UploadFinish),
    /// No payload, or an unknown one.
    Unset,
}

impl Decode for UploadMessage {
    fn decode(message: Bytes) -> Result<Self, String> {
        let mut payload: Option<(u32, Bytes)> = None;
        // Repetitions of the payload, after the first.
        let mut more = BytesMut::new();
        for field in fields(&message) {
            let (tag @ (POST_MESSAGE | FINISH), Field::Bytes(value)) =
                field.map_err(|e| e.to_string())?
            else {
                continue;
            };
            let value = message.slice_ref(value);
            match payload {
                // Protobuf merges a repeated message with the first: the same as concatenating
                // their bytes.
                Some((before, _)) if before == tag => more.extend_from_slice(&value),
                _ => {
                    more.clear();
                    payload = Some((tag, value));
                }
            }
        }
        if let Some((_, first)) = payload.as_mut().filter(|_| !more.is_empty()) {
            *first = [&**first, &more].concat().into();
        }
        match payload {
            Some((POST_MESSAGE, post)) => Ok(UploadMessage::Post(post)),
            Some((_, finish)) => Decode::decode(finish).map(UploadMessage::Finish),
            None => Ok(UploadMessage::Unset),
        }
    }
}
