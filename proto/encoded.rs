//! Encoded posts: the bytes that the log stores, and readers that do not copy them.
//!
//! A post is encoded once, when it is accepted: fields 1, 6, 5, 3, 4, 8 of `PostMessage`, in this
//! order. Protobuf allows fields in any order, so a reader gets these bytes unchanged, with
//! `author` (2) and `sequence` (7) appended. The fields that filters need come first.
//!
//! Not here: validation of posts, and the log.

use prost::encoding::{self, WireType};
use prost_types::Timestamp;

use crate::{
    codec::{put_string, put_text},
    fields::{Field, Malformed, field, fields, post_message::*},
};

/// A `PostMessage` that borrows its encoded bytes. The default is an empty post.
#[derive(Debug, Default, Clone, Copy)]
pub struct PostRef<'a> {
    /// The encoded fields from the first tag to the last.
    tags: &'a [u8],
    /// The idempotency key.
    pub post_id: &'a str,
    /// The writer's name; empty for an unknown user.
    pub author: &'a str,
    /// The title.
    pub title: &'a str,
    /// The body.
    pub body: &'a str,
    /// The user id of the writer.
    pub user_id: &'a str,
    /// The sequence in the log.
    pub sequence: i64,
    /// When the post was accepted.
    pub create_time: Option<Timestamp>,
}

impl<'a> PostRef<'a> {
    /// Reads a post. Unknown fields are skipped.
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

    /// The tags as bytes, which `decode` has checked to be UTF-8.
    fn encoded_tags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        fields(self.tags).filter_map(|field| match field {
            Ok((TAGS, Field::Bytes(text))) => Some(text),
            _ => None,
        })
    }
}

/// Reads a `Timestamp`, faster than prost does.
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

/// Appends the content that the writer chose: `post_id`, `user_id`, `tags`, `title`, `body`.
///
/// Equal posts have equal bytes. Output-only fields are left out.
pub fn encode_content(post: &PostRef<'_>, buf: &mut Vec<u8>) {
    put_string(POST_ID, post.post_id, buf);
    put_string(USER_ID, post.user_id, buf);
    for tag in post.encoded_tags() {
        put_text(TAGS, tag, buf); // even an empty one: elements of a list are never left out
    }
    put_string(TITLE, post.title, buf);
    put_string(BODY, post.body, buf);
}

/// Appends `create_time` to encoded content, which makes the bytes that the log stores.
pub fn append_create_time(content: &mut Vec<u8>, time: &prost_types::Timestamp) {
    encoding::message::encode(CREATE_TIME, time, content);
}

/// Whether stored bytes have this content, with any `create_time`.
pub fn same_content(stored: &[u8], content: &[u8]) -> bool {
    // `create_time` follows the content, and no field of the content starts with its tag.
    let create_time = (CREATE_TIME << 3 | WireType::LengthDelimited as u32) as u8;
    stored.strip_prefix(content).is_some_and(|rest| rest.first() == Some(&create_time))
}

/// A view of stored bytes. Reads only as many fields as needed.
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

    /// The length-delimited fields, up to the first field of another type.
    fn fields(self) -> impl Iterator<Item = (u32, &'a [u8])> {
        fields(self.0).map_while(|field| match field {
            Ok((tag, Field::Bytes(value))) => Some((tag, value)),
            _ => None,
        })
    }
}
