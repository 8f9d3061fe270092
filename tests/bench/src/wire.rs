//! Reading without copying: gRPC's messages from chunks, and posts from messages as
//! `quartet_client::borrowed` does.

use quartet::{
    encoded::PostRef,
    fields::{Field, fields},
};
use quartet_wire::framing::{self, PREFIX_LEN};

use crate::{error::Result, proto::PostMessage};

/// Splits chunks into messages. Only a message that spans two chunks is copied.
#[derive(Debug, Default)]
pub(crate) struct MessageSplitter {
    partial: Vec<u8>,
}

impl MessageSplitter {
    /// Passes every message that is complete with this chunk to `each`.
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
                each(&self.partial[PREFIX_LEN..])?;
                self.partial.clear();
            }
        }
        while chunk.len() >= PREFIX_LEN && chunk.len() >= frame_len(chunk) {
            let (frame, rest) = chunk.split_at(frame_len(chunk));
            each(&frame[PREFIX_LEN..])?;
            chunk = rest;
        }
        self.partial.extend_from_slice(chunk);
        Ok(())
    }

    /// Whether all data so far was whole messages.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }
}

/// The bytes missing to the end of the prefix, or then to the end of the frame.
fn missing(partial: &[u8]) -> usize {
    if partial.len() < PREFIX_LEN {
        PREFIX_LEN - partial.len()
    } else {
        frame_len(partial) - partial.len()
    }
}

fn frame_len(frame: &[u8]) -> usize {
    PREFIX_LEN + u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize
}

/// Appends a message with its prefix.
pub(crate) fn put_frame(message: &impl prost::Message, buf: &mut Vec<u8>) {
    buf.extend_from_slice(&framing::prefix(message.encoded_len() as u32));
    message.encode_raw(buf);
}

/// Passes every message field of this number to `handle`.
pub(crate) fn each<'a>(
    message: &'a [u8],
    number: u32,
    mut handle: impl FnMut(&'a [u8]) -> Result<()>,
) -> Result<()> {
    for field in fields(message) {
        match field? {
            (tag, Field::Bytes(bytes)) if tag == number => handle(bytes)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether two posts have the same content.
pub(crate) fn same_content(read: &PostRef<'_>, post: &PostMessage) -> bool {
    read.post_id == post.post_id
        && read.user_id == post.user_id
        && read.title == post.title
        && read.body == post.body
        && read.tags().eq(post.tags.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_wherever_the_chunks_are_cut() {
        let messages: Vec<Vec<u8>> = (0..20).map(|len| vec![len as u8; len * 3]).collect();
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.extend_from_slice(&framing::prefix(message.len() as u32));
            bytes.extend_from_slice(message);
        }
        for size in 1..40 {
            let (mut frames, mut out) = (MessageSplitter::default(), Vec::new());
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
}
