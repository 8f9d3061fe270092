//! A call whose response is read where it came.
//!
//! tonic copies each frame into a buffer of its own before it looks for messages. Here a message that lies in one frame, as a batch
//! does, is a slice of that frame; only one that is cut is put together. All else is as with tonic: a status comes from the
//! head or the trailers, what is compressed or too large is refused, and an end without a status is no end.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::{BodyExt as _, Full};
use quartet::wire::{self, Decode, Encode};
use tonic::{Code, Status, body::Body, metadata::GRPC_CONTENT_TYPE};
use tower::ServiceExt as _;

use crate::{Channel, retry::code_of_http};

/// Before each message: whether it is compressed, and four bytes of length.
const PREFIX_BYTES: usize = 5;
/// The largest message that is taken, tonic's default. The service config may allow less.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Makes a call with one request. Returns when its response has begun.
///
/// # Errors
/// The status of a call that has failed already.
pub(crate) async fn call(
    channel: Channel,
    path: &'static str,
    request: &impl Encode,
) -> Result<Messages, Status> {
    let mut request = Request::post(path)
        .body(Body::new(Full::new(wire::frame(request))))
        .map_err(|error| Status::from_error(error.into()))?;
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    let (head, body) = channel.oneshot(request).await?.into_parts();
    match Status::from_header_map(&head.headers) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) => {}
        // Something that stands before the server.
        None => {
            if let Some(code) = code_of_http(head.status) {
                return Err(Status::new(
                    code,
                    format!("the answer is no gRPC: HTTP status {}", head.status),
                ));
            }
        }
    }
    let ended = head.headers.contains_key(Status::GRPC_STATUS);
    Ok(Messages { body, ended, frame: Bytes::new(), cut: BytesMut::new() })
}

/// The messages of a response.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Body,
    /// Whether the head said already that the call went well.
    ended: bool,
    /// What is not handed on of the last frame.
    frame: Bytes,
    /// The beginning of a message that goes on in the next frame.
    cut: BytesMut,
}

impl Messages {
    /// Waits for the next message; `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// The status of the call, that of its transport, or INTERNAL if a message is not one.
    pub(crate) async fn next<M: Decode>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.in_frame()? {
                return M::decode(message).map(Some).map_err(Status::internal);
            }
            match self.body.frame().await.transpose()?.map(|frame| frame.into_data()) {
                Some(Ok(data)) => self.frame = data,
                Some(Err(frame)) => return self.end(frame.trailers_ref()),
                None => return self.end(None),
            }
        }
    }

    /// The next message, if it ends in this frame. Otherwise nothing is left of the frame.
    fn in_frame(&mut self) -> Result<Option<Bytes>, Status> {
        if self.cut.is_empty() {
            let end = end_of(&self.frame)?;
            if end <= self.frame.len() {
                return Ok(Some(self.frame.split_to(end).split_off(PREFIX_BYTES)));
            }
        }
        loop {
            let missing = end_of(&self.cut)? - self.cut.len();
            if missing == 0 {
                return Ok(Some(self.cut.split().freeze().split_off(PREFIX_BYTES)));
            }
            if self.frame.is_empty() {
                return Ok(None);
            }
            self.cut.reserve(missing);
            self.cut.extend_from_slice(&self.frame.split_to(missing.min(self.frame.len())));
        }
    }

    /// What there is after the last message.
    fn end<M>(&self, trailers: Option<&HeaderMap>) -> Result<Option<M>, Status> {
        match trailers.and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ if !self.cut.is_empty() => Err(Status::internal("a message is cut off")),
            None if !self.ended => Err(Status::unknown("the response ended without a status")),
            _ => Ok(None),
        }
    }
}

/// The length of a message with its prefix, as far as this beginning tells.
fn end_of(message: &[u8]) -> Result<usize, Status> {
    let Some(mut prefix) = message.get(..PREFIX_BYTES) else { return Ok(PREFIX_BYTES) };
    if prefix.get_u8() != 0 {
        return Err(Status::internal("a message is compressed, and nobody asked for that"));
    }
    let length = prefix.get_u32() as usize;
    if length > MESSAGE_BYTES {
        return Err(Status::resource_exhausted(format!(
            "a message of {length} bytes is larger than {MESSAGE_BYTES}"
        )));
    }
    Ok(PREFIX_BYTES + length)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    struct Raw(Bytes);

    impl Decode for Raw {
        fn decode(message: Bytes) -> Result<Self, String> {
            Ok(Self(message))
        }
    }

    /// A response that comes in these frames.
    fn messages(frames: Vec<Bytes>, status: Option<&'static str>) -> Messages {
        let status = status.map(|status| {
            Frame::trailers(HeaderMap::from_iter([(
                Status::GRPC_STATUS,
                HeaderValue::from_static(status),
            )]))
        });
        let frames: Vec<_> = frames.into_iter().map(Frame::data).chain(status).collect();
        let body = StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>)));
        Messages { body: Body::new(body), ended: false, frame: Bytes::new(), cut: BytesMut::new() }
    }

    fn all(mut messages: Messages) -> Result<Vec<Bytes>, Status> {
        let mut read = Vec::new();
        while let Some(Raw(message)) =
            messages.next().now_or_never().expect("it waits for nothing")?
        {
            read.push(message);
        }
        Ok(read)
    }

    fn framed(flag: u8, length: u32, message: &[u8]) -> Bytes {
        [&[flag][..], &length.to_be_bytes(), message].concat().into()
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_they_are_cut(
            lengths in prop::collection::vec(0_usize..40, 0..10), cut in 1_usize..60,
        ) {
            let sent: Vec<Bytes> = lengths.iter().map(|&length| vec![7; length].into()).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|message| framed(0, message.len() as u32, message)).collect();
            let frames = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
            prop_assert_eq!(all(messages(frames, Some("0"))).unwrap(), sent);
        }
    }

    #[test]
    fn a_message_in_one_frame_is_not_copied() {
        let frame = framed(0, 3, b"abc");
        let read = all(messages(vec![frame.clone()], Some("0"))).unwrap();
        assert_eq!(read[0].as_ptr(), frame[PREFIX_BYTES..].as_ptr());
    }

    #[test]
    fn what_is_no_message_and_what_is_no_end_is_refused() {
        let large = MESSAGE_BYTES as u32 + 1;
        for (frame, status, code) in [
            (framed(1, 1, b"a"), Some("0"), Code::Internal),
            (framed(0, large, b"a"), Some("0"), Code::ResourceExhausted),
            (framed(0, 2, b"a"), Some("0"), Code::Internal),
            (framed(0, 2, b"a"), None, Code::Internal),
            (framed(0, 2, b"a"), Some("14"), Code::Unavailable),
            (framed(0, 1, b"a"), None, Code::Unknown),
            (framed(0, 1, b"a"), Some("11"), Code::OutOfRange),
        ] {
            let error = all(messages(vec![frame.clone()], status)).unwrap_err();
            assert_eq!(error.code(), code, "{frame:?}, {status:?}");
        }
    }
}
