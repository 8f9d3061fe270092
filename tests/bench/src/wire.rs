//! Reading without copying: gRPC's frames out of chunks, posts out of messages.

use std::str::from_utf8;

use prost::encoding::decode_varint;

use crate::{Result, proto::PostMessage};

/// A compression flag and four bytes of length stand before every gRPC message.
pub(crate) const HEADER: usize = 5;

/// Cuts chunks into messages. Only a message that lies across two chunks is copied.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    partial: Vec<u8>,
}

impl Frames {
    /// Hands every message that is complete with this chunk to `each`.
    pub(crate) fn push(
        &mut self,
        mut chunk: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        while !self.partial.is_empty() && !chunk.is_empty() {
            let (part, rest) = chunk.split_at(missing(&self.partial).min(chunk.len()));
            self.partial.extend_from_slice(part);
            chunk = rest;
            if missing(&self.partial) == 0 {
                each(&self.partial[HEADER..])?;
                self.partial.clear();
            }
        }
        while chunk.len() >= HEADER && chunk.len() >= frame_len(chunk) {
            let (frame, rest) = chunk.split_at(frame_len(chunk));
            each(&frame[HEADER..])?;
            chunk = rest;
        }
        self.partial.extend_from_slice(chunk);
        Ok(())
    }

    /// Whether all that came was whole messages.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }
}

/// The bytes up to the end of the header, or then up to the end of the frame.
fn missing(partial: &[u8]) -> usize {
    if partial.len() < HEADER { HEADER - partial.len() } else { frame_len(partial) - partial.len() }
}

fn frame_len(frame: &[u8]) -> usize {
    HEADER + u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize
}

/// Appends a message with its header.
pub(crate) fn put_frame(message: &impl prost::Message, buf: &mut Vec<u8>) {
    buf.push(0);
    buf.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    message.encode_raw(buf);
}

// The two wire types that the contract uses.
const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn field(&mut self) -> Result<(u32, Value<'a>)> {
        let key = self.varint()?;
        let (tag, wire_type) = ((key >> 3) as u32, key & 7);
        let number = self.varint()?;
        match wire_type {
            VARINT => Ok((tag, Value::Varint(number))),
            LENGTH_DELIMITED => {
                let split = usize::try_from(number).ok().and_then(|it| self.0.split_at_checked(it));
                let (bytes, rest) = split.ok_or("a field is longer than its message")?;
                self.0 = rest;
                Ok((tag, Value::Bytes(bytes)))
            }
            _ => Err("a field is of a type that the contract does not use".into()),
        }
    }

    /// Most keys and lengths are one byte.
    #[inline]
    fn varint(&mut self) -> Result<u64> {
        match self.0 {
            [byte @ 0..0x80, rest @ ..] => {
                self.0 = rest;
                Ok((*byte).into())
            }
            _ => Ok(decode_varint(&mut self.0)?),
        }
    }

    /// The message fields of this number.
    pub(crate) fn each(
        self,
        number: u32,
        mut handle: impl FnMut(&'a [u8]) -> Result<()>,
    ) -> Result<()> {
        for field in self {
            match field? {
                (tag, Value::Bytes(bytes)) if tag == number => handle(bytes)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A post whose text is still in the message.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PostRef<'a> {
    pub(crate) post_id: &'a str,
    pub(crate) author: &'a str,
    pub(crate) title: &'a str,
    pub(crate) body: &'a str,
    pub(crate) tags: [&'a str; 16],
    pub(crate) tag_count: usize,
    pub(crate) user_id: &'a str,
    pub(crate) sequence: u64,
    pub(crate) seconds: u64,
}

impl<'a> PostRef<'a> {
    /// Reads every field; text is checked to be UTF-8, as prost does.
    #[inline]
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self> {
        let mut post = Self::default();
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(text)) => post.post_id = from_utf8(text)?,
                (2, Value::Bytes(text)) => post.author = from_utf8(text)?,
                (3, Value::Bytes(text)) => post.title = from_utf8(text)?,
                (4, Value::Bytes(text)) => post.body = from_utf8(text)?,
                (5, Value::Bytes(text)) => post.add_tag(from_utf8(text)?)?,
                (6, Value::Bytes(text)) => post.user_id = from_utf8(text)?,
                (7, Value::Varint(number)) => post.sequence = number,
                (8, Value::Bytes(time)) => post.seconds = seconds(time)?,
                _ => return Err("a post has a field that the contract does not know".into()),
            }
        }
        Ok(post)
    }

    fn add_tag(&mut self, tag: &'a str) -> Result<()> {
        *self.tags.get_mut(self.tag_count).ok_or("a post has more than 16 tags")? = tag;
        self.tag_count += 1;
        Ok(())
    }

    /// Whether its content is that of the other.
    pub(crate) fn same_content(&self, post: &PostMessage) -> bool {
        self.post_id == post.post_id
            && self.user_id == post.user_id
            && self.title == post.title
            && self.body == post.body
            && self.tags[..self.tag_count] == post.tags[..]
    }
}

fn seconds(time: &[u8]) -> Result<u64> {
    let mut seconds = 0;
    for field in Fields(time) {
        if let (1, Value::Varint(number)) = field? {
            seconds = number;
        }
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::posts;

    #[test]
    fn messages_come_out_whole_wherever_the_chunks_are_cut() {
        let messages: Vec<Vec<u8>> = (0..20).map(|len| vec![len as u8; len * 3]).collect();
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.push(0);
            bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
            bytes.extend_from_slice(message);
        }
        for size in 1..40 {
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                let each = |message: &[u8]| {
                    out.push(message.to_vec());
                    Ok(())
                };
                frames.push(chunk, each).unwrap();
            }
            assert!(frames.is_empty());
            assert_eq!(out, messages, "chunks of {size} bytes");
        }
    }

    #[test]
    fn a_borrowed_post_has_every_field() {
        let mut post = PostMessage::default();
        posts::fill(7, &mut post);
        post.author = posts::author(&post.user_id);
        post.sequence = 8;
        post.create_time = Some(posts::create_time());
        let bytes = post.encode_to_vec();
        let borrowed = PostRef::decode(&bytes).unwrap();
        assert!(borrowed.same_content(&post));
        assert_eq!((borrowed.author, borrowed.sequence), (post.author.as_str(), 8));
        assert_eq!(borrowed.seconds, posts::create_time().seconds as u64);
    }
}
