//! Reads the messages of a request or a response without copying them.
//!
//! tonic copies each frame into a buffer before it splits messages, and keeps two buffers and a
//! decoder while a stream is open. Here, a message within one frame is a slice of that frame, and
//! only a message across several frames is assembled in a buffer. A slice keeps its whole frame in
//! memory.
//!
//! Not here: compression. A compressed message is an error.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use tonic::Status;

use crate::framing::PREFIX_LEN;

/// One part of a body.
#[derive(Debug)]
pub enum Part {
    /// A message, without its prefix.
    Message(Bytes),
    /// The end, with trailers if there are any.
    End(Option<HeaderMap>),
}

/// Splits a body into messages.
#[derive(Debug)]
pub struct MessageReader<B> {
    body: B,
    limit: usize,
    /// The unread rest of the last frame.
    frame: Bytes,
    /// The beginning of a message that continues in the next frame.
    cut: BytesMut,
}

impl<B> MessageReader<B> {
    /// Reads this body, whose messages have at most `limit` bytes each.
    pub fn new(body: B, limit: usize) -> Self {
        Self { body, limit, frame: Bytes::new(), cut: BytesMut::new() }
    }

    /// Checks that the body ended between two messages. Call it after [`Part::End`].
    ///
    /// # Errors
    /// INTERNAL if it ended within a message.
    pub fn check_end(&self) -> Result<(), Status> {
        match self.cut.is_empty() {
            true => Ok(()),
            false => Err(Status::internal("a message is cut off")),
        }
    }

    /// The next message, if it ends in this frame. Otherwise the whole frame is consumed.
    fn in_frame(&mut self) -> Result<Option<Bytes>, Status> {
        if self.cut.is_empty() {
            let end = self.end_of(&self.frame)?;
            if end <= self.frame.len() {
                return Ok(Some(self.frame.split_to(end).split_off(PREFIX_LEN)));
            }
        }
        loop {
            let missing = self.end_of(&self.cut)? - self.cut.len();
            if missing == 0 {
                return Ok(Some(std::mem::take(&mut self.cut).freeze().split_off(PREFIX_LEN)));
            }
            if self.frame.is_empty() {
                return Ok(None);
            }
            self.cut.reserve(missing);
            self.cut.extend_from_slice(&self.frame.split_to(missing.min(self.frame.len())));
        }
    }

    /// The length of a message with its prefix, or of the prefix while that is incomplete.
    fn end_of(&self, message: &[u8]) -> Result<usize, Status> {
        let Some(mut prefix) = message.get(..PREFIX_LEN) else { return Ok(PREFIX_LEN) };
        match prefix.get_u8() {
            0 => {}
            1 => {
                return Err(Status::internal("a message is compressed, and no encoding was named"));
            }
            flag => return Err(Status::internal(format!("a message has the flag {flag}"))),
        }
        let (length, limit) = (prefix.get_u32() as usize, self.limit);
        if length > limit {
            let message = format!("a message of {length} bytes is larger than {limit}");
            return Err(Status::resource_exhausted(message));
        }
        Ok(PREFIX_LEN + length)
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> MessageReader<B> {
    /// The next message, or the end. Nothing follows an error.
    ///
    /// # Errors
    /// The body's error; INTERNAL for bytes that are not a message; RESOURCE_EXHAUSTED for a
    /// message over the limit.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Status>> {
        loop {
            if let Some(message) = self.in_frame()? {
                return Poll::Ready(Ok(Part::Message(message)));
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(data)) => self.frame = data,
                Some(Err(frame)) => return Poll::Ready(Ok(Part::End(frame.into_trailers().ok()))),
                None => return Poll::Ready(Ok(Part::End(None))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use http_body::Frame;
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    const LIMIT: usize = 64;

    /// A body of these frames.
    struct Chunks(VecDeque<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    fn read(frames: impl IntoIterator<Item = Bytes>) -> Result<Vec<Bytes>, Status> {
        let mut messages = MessageReader::new(Chunks(frames.into_iter().collect()), LIMIT);
        let mut read = Vec::new();
        loop {
            match messages.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(part) => match part? {
                    Part::Message(message) => read.push(message),
                    Part::End(_) => return messages.check_end().map(|()| read),
                },
                Poll::Pending => panic!("it waits for nothing"),
            }
        }
    }

    fn framed(flag: u8, length: usize, message: &[u8]) -> Bytes {
        [&[flag][..], &(length as u32).to_be_bytes(), message].concat().into()
    }

    proptest! {
        #[test]
        fn messages_are_the_same_wherever_frames_split_them(
            lengths in prop::collection::vec(0..=LIMIT, 0..10), cut in 1_usize..100,
        ) {
            let sent: Vec<Bytes> = lengths.iter().map(|&length| vec![7; length].into()).collect();
            let bytes = sent.iter().flat_map(|message| framed(0, message.len(), message));
            let bytes: Vec<u8> = bytes.collect();
            prop_assert_eq!(read(bytes.chunks(cut).map(Bytes::copy_from_slice)).unwrap(), sent);
        }
    }

    #[test]
    fn a_message_in_one_frame_is_not_copied() {
        let frame = framed(0, 3, b"abc");
        let place = frame[PREFIX_LEN..].as_ptr();
        assert_eq!(read([frame]).unwrap()[0].as_ptr(), place);
    }

    #[test]
    fn bytes_that_are_not_a_message_are_refused() {
        for (frame, code) in [
            (framed(1, 1, b"a"), Code::Internal),
            (framed(7, 1, b"a"), Code::Internal),
            (framed(0, 2, b"a"), Code::Internal),
            (framed(0, 2, b"a").slice(..3), Code::Internal),
            (framed(0, LIMIT + 1, b"a"), Code::ResourceExhausted),
        ] {
            assert_eq!(read([frame.clone()]).unwrap_err().code(), code, "{frame:?}");
        }
    }
}
