//! Reading in place: posts whose text stays in the message that brought it.
//!
//! prost makes a `String` of every text, eight allocations for a post. Whoever only looks at posts, counts them or hands
//! them on can do without: here a field is a slice of the message. It is checked as prost checks it: lengths, types, UTF-8.

use std::str::Utf8Error;

use prost::encoding::{WireType, decode_varint};
use prost_types::Timestamp;

use crate::wire::{AUTHOR, BODY, CREATE_TIME, POST_ID, SEQUENCE, TAGS, TITLE, USER_ID};

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

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number, or a bool.
    Number(u64),
    /// A text, or a message.
    Bytes(&'a [u8]),
    /// Of a type that this contract does not use.
    Other,
}

/// The fields of a message and their numbers, in their order. Nothing follows an error.
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

    // Inlined, so that a loop over fields makes no `Field` of what it passes over: half the time of reading a post.
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

#[inline(always)]
fn field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Field<'a>), Malformed> {
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

/// Most numbers are keys and lengths, of one byte.
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

/// A `PostMessage` that is still in its bytes. The default is an empty one.
#[derive(Debug, Default, Clone, Copy)]
pub struct PostRef<'a> {
    /// The part of the message from the first tag to the last.
    tags: &'a [u8],
    /// The idempotency key.
    pub post_id: &'a str,
    /// The writer's name; empty for an unknown user.
    pub author: &'a str,
    /// The title.
    pub title: &'a str,
    /// The body.
    pub body: &'a str,
    /// The writer.
    pub user_id: &'a str,
    /// The place in the log.
    pub sequence: i64,
    /// When it was accepted.
    pub create_time: Option<Timestamp>,
}

impl<'a> PostRef<'a> {
    /// Reads a post. Fields that this contract does not know are passed over.
    ///
    /// # Errors
    /// The bytes are not a `PostMessage`.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut post = Self::default();
        let (mut rest, mut first_tag) = (message, None);
        while !rest.is_empty() {
            let start = message.len() - rest.len();
            match field(&mut rest)? {
                (POST_ID, Field::Bytes(text)) => post.post_id = str::from_utf8(text)?,
                (AUTHOR, Field::Bytes(text)) => post.author = str::from_utf8(text)?,
                (TITLE, Field::Bytes(text)) => post.title = str::from_utf8(text)?,
                (BODY, Field::Bytes(text)) => post.body = str::from_utf8(text)?,
                (USER_ID, Field::Bytes(text)) => post.user_id = str::from_utf8(text)?,
                (TAGS, Field::Bytes(text)) => {
                    str::from_utf8(text)?;
                    let end = message.len() - rest.len();
                    post.tags = &message[*first_tag.get_or_insert(start)..end];
                }
                (SEQUENCE, Field::Number(number)) => post.sequence = number as i64,
                (CREATE_TIME, Field::Bytes(bytes)) => post.create_time = Some(time(bytes)?),
                (POST_ID..=CREATE_TIME, _) => return Err(Malformed("a field has another type")),
                _ => {}
            }
        }
        Ok(post)
    }

    /// The tags, in the writer's order.
    pub fn tags(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.encoded_tags().filter_map(|tag| str::from_utf8(tag).ok())
    }

    /// The same in UTF-8, which was checked before.
    pub(crate) fn encoded_tags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        fields(self.tags).filter_map(|field| match field {
            Ok((TAGS, Field::Bytes(text))) => Some(text),
            _ => None,
        })
    }
}

/// Reads a `Timestamp`, which prost would with a function for each number.
fn time(message: &[u8]) -> Result<Timestamp, Malformed> {
    let mut time = Timestamp::default();
    for field in fields(message) {
        match field? {
            (1, Field::Number(seconds)) => time.seconds = seconds as i64,
            (2, Field::Number(nanos)) => time.nanos = nanos as i32,
            (1 | 2, _) => return Err(Malformed("a time")),
            _ => {}
        }
    }
    Ok(time)
}
