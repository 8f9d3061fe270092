//! Field numbers, and the loop over the fields of an encoded message.
//!
//! prost copies every text into a `String`, eight allocations per post. A reader that only
//! inspects, counts or forwards posts does not need them: here a field is a slice of the message.
//! The checks are prost's: lengths, wire types, UTF-8.

use std::str::Utf8Error;

use prost::encoding::{WireType, decode_varint};

/// The field numbers of `PostMessage`.
pub mod post_message {
    /// `post_id`.
    pub const POST_ID: u32 = 1;
    /// `author`.
    pub const AUTHOR: u32 = 2;
    /// `title`.
    pub const TITLE: u32 = 3;
    /// `body`.
    pub const BODY: u32 = 4;
    /// `tags`.
    pub const TAGS: u32 = 5;
    /// `user_id`.
    pub const USER_ID: u32 = 6;
    /// `sequence`.
    pub const SEQUENCE: u32 = 7;
    /// `create_time`.
    pub const CREATE_TIME: u32 = 8;
}

/// The field numbers of `UploadPostsRequest`.
pub(crate) mod upload_posts_request {
    pub(crate) const POST_MESSAGE: u32 = 1;
    pub(crate) const FINISH: u32 = 2;
}

/// Bytes that are not a message of this contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a message cannot be decoded: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Utf8Error> for Malformed {
    fn from(_: Utf8Error) -> Self {
        Malformed("a text is not UTF-8")
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number, or a bool.
    Number(u64),
    /// A text, or a message.
    Bytes(&'a [u8]),
    /// A wire type that this contract does not use.
    Other,
}

/// The fields of a message with their numbers, in encoded order. Nothing follows an error.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    // Inlined, so that a loop does not build fields that it skips: halves the time of reading a
    // post.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = field(&mut self.rest);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Splits the next field off.
#[inline(always)]
pub(crate) fn field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Field<'a>), Malformed> {
    let key = u32::try_from(number(rest)?).map_err(|_| Malformed("the key of a field"))?;
    let tag = key >> 3;
    if tag == 0 {
        return Err(Malformed("the key of a field"));
    }
    let wire_type = WireType::try_from(u64::from(key & 7));
    let field = match wire_type.map_err(|_| Malformed("the key of a field"))? {
        WireType::Varint => Field::Number(number(rest)?),
        WireType::LengthDelimited => {
            let length = usize::try_from(number(rest)?).unwrap_or(usize::MAX);
            Field::Bytes(split(rest, length)?)
        }
        WireType::SixtyFourBit => split(rest, 8).map(|_| Field::Other)?,
        WireType::ThirtyTwoBit => split(rest, 4).map(|_| Field::Other)?,
        WireType::StartGroup | WireType::EndGroup => return Err(Malformed("a group")),
    };
    Ok((tag, field))
}

/// Fast path: most numbers are keys and lengths of one byte.
#[inline(always)]
fn number(rest: &mut &[u8]) -> Result<u64, Malformed> {
    if let [byte @ ..0x80, after @ ..] = *rest {
        *rest = after;
        return Ok(u64::from(*byte));
    }
    decode_varint(rest).map_err(|_| Malformed("a number"))
}

#[inline]
fn split<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (value, after) = rest.split_at_checked(length).ok_or(Malformed("a field is cut off"))?;
    *rest = after;
    Ok(value)
}
