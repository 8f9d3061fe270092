//! Posts that stay encoded: how the log stores them, and how the server sends them without decoding.
//!
//! A post is encoded once, when it is accepted: fields 1, 6, 5, 3, 4, 8 of `PostMessage`, in this order. Protobuf
//! lets fields come in any order, so a reader gets these bytes as they are with `author` (2) and `sequence` (7)
//! appended; what a filter asks for stands first.
//!
//! Not here: what makes a post valid, and how it is stored.

use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{self, WireType};
use quartet_wire::framing::{PREFIX_LEN, prefix};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    borrowed::{Field, PostRef, fields},
    post::v1::{LogPosition, TagFeedResponse, UploadFinish},
    reason,
};

// The field numbers of `PostMessage`.
pub(crate) const POST_ID: u32 = 1;
pub(crate) const AUTHOR: u32 = 2;
pub(crate) const TITLE: u32 = 3;
pub(crate) const BODY: u32 = 4;
pub(crate) const TAGS: u32 = 5;
pub(crate) const USER_ID: u32 = 6;
pub(crate) const SEQUENCE: u32 = 7;
pub(crate) const CREATE_TIME: u32 = 8;

/// Appends what the writer chose: `post_id`, `user_id`, `tags`, `title`, `body`.
///
/// Equal posts give equal bytes. Output-only fields are left out.
pub fn encode_content(post: &PostRef<'_>, buf: &mut Vec<u8>) {
    put_string(POST_ID, post.post_id, buf);
    put_string(USER_ID, post.user_id, buf);
    for tag in post.encoded_tags() {
        put_text(TAGS, tag, buf); // also if it is empty: an element of a list is never left out
    }
    put_string(TITLE, post.title, buf);
    put_string(BODY, post.body, buf);
}

/// Completes encoded content with `create_time`: the bytes that the log stores.
pub fn append_create_time(content: &mut Vec<u8>, time: &prost_types::Timestamp) {
    encoding::message::encode(CREATE_TIME, time, content);
}

/// Whether stored bytes are this content, whenever it was created.
pub fn same_content(stored: &[u8], content: &[u8]) -> bool {
    // After the content comes `create_time`, and no field of a content starts with that tag.
    let create_time = (CREATE_TIME << 3 | WireType::LengthDelimited as u32) as u8;
    stored.strip_prefix(content).is_some_and(|rest| rest.first() == Some(&create_time))
}

/// A borrowed look at stored bytes. It reads no further than it must.
#[derive(Debug, Clone, Copy)]
pub struct PostView<'a>(pub &'a [u8]);

impl<'a> PostView<'a> {
    /// The `post_id`, or "" if the bytes are not a stored post.
    pub fn post_id(self) -> &'a str {
        self.text(POST_ID)
    }

    /// The `user_id`, or "" if the bytes are not a stored post.
    pub fn user_id(self) -> &'a str {
        self.text(USER_ID)
    }

    /// The tags, in the writer's order.
    pub fn tags(self) -> impl Iterator<Item = &'a str> {
        self.fields()
            .take_while(|(tag, _)| matches!(*tag, POST_ID | USER_ID | TAGS))
            .filter(|(tag, _)| *tag == TAGS)
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    fn text(self, wanted: u32) -> &'a str {
        let value = self.fields().find_map(|(tag, value)| (tag == wanted).then_some(value));
        value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// The fields with a length, up to the first that has none. What is not asked for is passed over unseen.
    fn fields(self) -> impl Iterator<Item = (u32, &'a [u8])> {
        fields(self.0).map_while(|field| match field {
            Ok((tag, Field::Bytes(value))) => Some((tag, value)),
            _ => None,
        })
    }
}

/// Stored posts on their way to a reader, encoded one behind the other as field 1 of a message.
#[derive(Debug, Clone, Default)]
pub struct OutgoingPosts {
    encoded: BytesMut,
}

/// What a post takes beside its stored bytes: keys, lengths, its sequence, and the names of most people.
const POST_OVERHEAD: usize = 48;

impl OutgoingPosts {
    /// None yet, with room for so many of so many stored bytes in all.
    pub fn with_capacity(posts: usize, stored: usize) -> Self {
        Self { encoded: BytesMut::with_capacity(stored + posts * POST_OVERHEAD) }
    }

    /// Adds the bytes of the log with the user's name, which is empty for an unknown user, and the place in the log: in few
    /// and large pieces.
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }
}

/// A batch of posts, encoded as `ListPostsByUserIdResponse`, `ListPostsResponse` or `PostBatch`.
///
/// The three share their fields: 1 the posts, 2 the position, 3 a flag (`truncated`, `snapshot_complete`, none).
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

/// What a server can send: it knows its length and writes itself once.
pub trait Encode {
    /// The number of bytes that [`encode`](Encode::encode) writes.
    fn encoded_len(&self) -> usize;
    /// Writes the protobuf message, without a length prefix.
    fn encode(&self, buf: &mut impl BufMut);
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

impl<M: prost::Message> Encode for M {
    fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(self)
    }

    fn encode(&self, buf: &mut impl BufMut) {
        self.encode_raw(buf);
    }
}

/// A message with its prefix, as gRPC puts it into DATA frames: uncompressed, then its length.
pub fn frame(message: &impl Encode) -> Bytes {
    let mut buf = BytesMut::new();
    put_frame(message, &mut buf);
    buf.freeze()
}

/// The same behind what is there already.
pub fn put_frame(message: &impl Encode, buf: &mut BytesMut) {
    let len = message.encoded_len();
    buf.reserve(PREFIX_LEN + len);
    buf.put_slice(&prefix(len as u32));
    message.encode(buf);
}

/// What a server can receive. prost messages can be; what stays encoded has an implementation of its own.
pub trait Decode: Sized {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn decode(message: Bytes) -> Result<Self, String>;
}

impl<M: prost::Message + Default> Decode for M {
    fn decode(message: Bytes) -> Result<Self, String> {
        M::decode(message).map_err(|error| error.to_string())
    }
}

/// An `UploadPostsRequest` whose post stays encoded: whoever stores it needs no `String` of it.
#[derive(Debug, Clone)]
pub enum UploadMessage {
    /// A `PostMessage`, to be read with [`PostRef::decode`].
    Post(Bytes),
    /// That was all.
    Finish(UploadFinish),
    /// No payload that this contract knows.
    Unset,
}

impl Decode for UploadMessage {
    fn decode(message: Bytes) -> Result<Self, String> {
        let mut payload: Option<(u32, Bytes)> = None;
        // What follows the first of several.
        let mut more = BytesMut::new();
        for field in fields(&message) {
            let (tag @ (POST | FINISH), Field::Bytes(value)) = field.map_err(|e| e.to_string())?
            else {
                continue;
            };
            let value = message.slice_ref(value);
            match payload {
                // The same message once more is merged with the first, which is what their bytes in a row say.
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
            Some((POST, post)) => Ok(UploadMessage::Post(post)),
            Some((_, finish)) => Decode::decode(finish).map(UploadMessage::Finish),
            None => Ok(UploadMessage::Unset),
        }
    }
}

// The field numbers of `UploadPostsRequest`.
const POST: u32 = 1;
const FINISH: u32 = 2;

/// The refusal of a message that is not what it should be: the caller's mistake (tonic's own codec says INTERNAL).
pub fn undecodable(why: impl std::fmt::Display) -> Status {
    Status::with_error_details(
        tonic::Code::InvalidArgument,
        format!("a request message cannot be decoded: {why}"),
        ErrorDetails::with_error_info(reason::UNDECODABLE_MESSAGE, reason::DOMAIN, []),
    )
}

/// The server's codec: it sends what can [`Encode`] itself and receives what can [`Decode`] itself.
#[derive(Debug)]
pub struct WireCodec<T, U>(PhantomData<fn(T) -> U>);

impl<T, U> Default for WireCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// tonic allocates the first number per stream and direction, at once; an idle feed shall not pay for it, and messages
/// reserve what they need. (Not 0: tonic divides by it when it compresses.) The second is the size of a chunk handed to HTTP/2: one full batch.
fn buffer_settings() -> BufferSettings {
    BufferSettings::new(1, crate::limits::BATCH_BYTES)
}

impl<T, U> Codec for WireCodec<T, U>
where
    T: Encode + Send + 'static,
    U: Decode + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<T: Encode, U> Encoder for WireCodec<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.encoded_len());
        item.encode(buf);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffer_settings()
    }
}

impl<T, U: Decode> Decoder for WireCodec<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buf.copy_to_bytes(buf.remaining())).map(Some).map_err(undecodable)
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffer_settings()
    }
}

/// Cuts text to at most `chars` characters, for ids that are echoed and names that come from elsewhere.
pub fn truncate(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

// proto3 leaves default values out.
fn string_len(tag: u32, value: &str) -> usize {
    if value.is_empty() { 0 } else { delimited_len(tag, value.len()) }
}

fn put_string(tag: u32, value: &str, buf: &mut impl BufMut) {
    if !value.is_empty() {
        put_text(tag, value.as_bytes(), buf);
    }
}

/// A key and a length are mostly a byte each, which go in together.
#[inline]
fn put_text(tag: u32, text: &[u8], buf: &mut impl BufMut) {
    if let (key @ ..0x80, length @ ..0x80) = (tag << 3 | 2, text.len()) {
        buf.put_slice(&[key as u8, length as u8]);
    } else {
        put_small(buf, |buf| put_delimiter(tag, text.len(), buf));
    }
    buf.put_slice(text);
}

/// Gathers keys and numbers before they are copied: a buffer that can grow looks for room at every byte.
fn put_small(buf: &mut impl BufMut, write: impl FnOnce(&mut &mut [u8])) {
    let mut small = [0; 24];
    let mut rest = &mut small[..];
    write(&mut rest);
    let written = 24 - rest.len();
    buf.put_slice(&small[..written]);
}

fn delimited_len(tag: u32, len: usize) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(len as u64) + len
}

fn put_delimiter(tag: u32, len: usize, buf: &mut impl BufMut) {
    encoding::encode_key(tag, WireType::LengthDelimited, buf);
    encoding::encode_varint(len as u64, buf);
}
