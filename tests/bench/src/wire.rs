//! Reading without copying: gRPC's frames out of chunks; posts out of messages as
//! `quartet::borrowed` does.

use quartet::borrowed::{Field, PostRef, fields};

use crate::{error::Result, proto::PostMessage};

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

/// Hands every message field of this number to `handle`.
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

/// Whether a post's content is that of the other.
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
}
