//! Encoding and decoding without intermediate copies.
//!
//! A prost message implements both traits; so do the messages of [`page`](crate::page), which stay
//! encoded.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{self, WireType};
use quartet_wire::framing::{PREFIX_LEN, prefix};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{limits::REQUEST_BYTES, reason};

/// Characters of an encoding's name in a status: callers choose it.
const ENCODING_CHARS: usize = 64;
/// Characters of a path in a status: callers choose it.
const PATH_CHARS: usize = 256;

/// A message that a server can send.
pub trait Encode {
    /// The number of bytes that [`encode`](Encode::encode) writes.
    fn encoded_len(&self) -> usize;
    /// Writes the protobuf message, without a length prefix.
    fn encode(&self, buf: &mut impl BufMut);
}

impl<M: prost::Message> Encode for M {
    fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(self)
    }

    fn encode(&self, buf: &mut impl BufMut) {
        self.encode_raw(buf);
    }
}

/// Encodes a message with gRPC's prefix for DATA frames: the flag for "not compressed", then the
/// length.
pub fn frame(message: &impl Encode) -> Bytes {
    let mut buf = BytesMut::new();
    put_frame(message, &mut buf);
    buf.freeze()
}

/// The same, appended to a buffer.
pub fn put_frame(message: &impl Encode, buf: &mut BytesMut) {
    let len = message.encoded_len();
    buf.reserve(PREFIX_LEN + len);
    buf.put_slice(&prefix(len as u32));
    message.encode(buf);
}

/// A message that a server can receive: any prost message, and messages that stay encoded.
pub trait Decode: Sized {
    /// Reads a message.
    ///
    /// # Errors
    /// A description of the problem.
    fn decode(message: Bytes) -> Result<Self, String>;
}

impl<M: prost::Message + Default> Decode for M {
    fn decode(message: Bytes) -> Result<Self, String> {
        M::decode(message).map_err(|error| error.to_string())
    }
}

/// The status of a message that does not decode. It is the caller's mistake, so INVALID_ARGUMENT
/// (tonic uses INTERNAL).
pub fn undecodable(why: impl std::fmt::Display) -> Status {
    let message = format!("a request message cannot be decoded: {why}");
    status(Code::InvalidArgument, reason::UNDECODABLE_MESSAGE, message)
}

/// The status of unreadable requests, from their reader's error. The codes are those of other gRPC
/// servers. An error that is not about a message, such as a reset, is returned unchanged.
pub(crate) fn unreadable(error: Status) -> Status {
    match error.code() {
        Code::ResourceExhausted => {
            let message = format!("a request message is over {REQUEST_BYTES} bytes");
            status(Code::ResourceExhausted, reason::REQUEST_TOO_LARGE, message)
        }
        Code::Internal => status(Code::Internal, reason::UNDECODABLE_MESSAGE, error.message()),
        _ => error,
    }
}

/// The status of a call with no request or several, where the method takes one. The code is that of
/// gRPC's document on status codes: UNIMPLEMENTED.
pub(crate) fn request_count(came: &str) -> Status {
    let message = format!("this method takes one request message; {came} came");
    status(Code::Unimplemented, reason::REQUEST_COUNT, message)
}

/// The status of a call of a method that a server does not have: UNIMPLEMENTED.
pub fn unknown_method(path: &str) -> Status {
    let message = format!("this server has no method {}", truncate(path, PATH_CHARS));
    status(Code::Unimplemented, reason::UNKNOWN_METHOD, message)
}

/// The status of a call whose messages have an encoding that the server does not read, and
/// `grpc-accept-encoding` with those that it does.
pub(crate) fn unknown_encoding(encoding: &str, accepted: &str) -> Status {
    let encoding = truncate(encoding, ENCODING_CHARS);
    let message = format!("this server does not read the encoding `{encoding}`, but {accepted}");
    let mut status = status(Code::Unimplemented, reason::UNSUPPORTED_ENCODING, message);
    if let Ok(accepted) = accepted.parse() {
        status.metadata_mut().insert("grpc-accept-encoding", accepted);
    }
    status
}

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// Cuts text to at most `chars` characters, for ids and names that callers or other services
/// choose.
pub fn truncate(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

// proto3 leaves default values out.
pub(crate) fn string_len(tag: u32, value: &str) -> usize {
    if value.is_empty() { 0 } else { delimited_len(tag, value.len()) }
}

pub(crate) fn put_string(tag: u32, value: &str, buf: &mut impl BufMut) {
    if !value.is_empty() {
        put_text(tag, value.as_bytes(), buf);
    }
}

/// Fast path: key and length are mostly one byte each, and are written together.
#[inline]
pub(crate) fn put_text(tag: u32, text: &[u8], buf: &mut impl BufMut) {
    if let (key @ ..0x80, length @ ..0x80) = (tag << 3 | 2, text.len()) {
        buf.put_slice(&[key as u8, length as u8]);
    } else {
        put_small(buf, |buf| put_delimiter(tag, text.len(), buf));
    }
    buf.put_slice(text);
}

/// Collects keys and numbers before they are copied: a growable buffer checks its capacity for
/// every byte.
pub(crate) fn put_small(buf: &mut impl BufMut, write: impl FnOnce(&mut &mut [u8])) {
    let mut small = [0; 24];
    let mut rest = &mut small[..];
    write(&mut rest);
    let written = 24 - rest.len();
    buf.put_slice(&small[..written]);
}

pub(crate) fn delimited_len(tag: u32, len: usize) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(len as u64) + len
}

pub(crate) fn put_delimiter(tag: u32, len: usize, buf: &mut impl BufMut) {
    encoding::encode_key(tag, WireType::LengthDelimited, buf);
    encoding::encode_varint(len as u64, buf);
}
