//! A call whose response is read where it came.
//!
//! All is as with tonic, but that no message is copied: a status comes from the head or the trailers, and an end without a
//! status is no end.

use std::future::poll_fn;

use http::{
    HeaderValue, Request,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::Full;
use quartet::wire::{self, Decode, Encode};
use quartet_wire::{
    code,
    messages::{MessageReader, Part},
};
use tonic::{Code, Status, body::Body, metadata::GRPC_CONTENT_TYPE};
use tower::ServiceExt as _;

use crate::Channel;

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
) -> Result<Responses, Status> {
    let mut request = Request::post(path)
        .body(Body::new(Full::new(wire::frame(request))))
        .map_err(|error| Status::from_error(error.into()))?;
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    let (head, body) = channel.oneshot(request).await?.into_parts();
    let ended = match Status::from_header_map(&head.headers) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) => true,
        // Something that stands before the server.
        None => match code::from_http(head.status) {
            Some(code) => {
                let message = format!("the answer is no gRPC: HTTP status {}", head.status);
                return Err(Status::new(code, message));
            }
            None => false,
        },
    };
    Ok(Responses { messages: MessageReader::new(body, MESSAGE_BYTES), ended })
}

/// The messages of a response.
#[derive(Debug)]
pub(crate) struct Responses {
    messages: MessageReader<Body>,
    /// Whether the head said already that the call went well.
    ended: bool,
}

impl Responses {
    /// Waits for the next message; `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// The status of the call, that of its transport, or INTERNAL if a message is not one.
    pub(crate) async fn next<M: Decode>(&mut self) -> Result<Option<M>, Status> {
        let trailers = match poll_fn(|cx| self.messages.poll_next(cx)).await? {
            Part::Message(message) => {
                return M::decode(message).map(Some).map_err(Status::internal);
            }
            Part::End(trailers) => trailers,
        };
        match trailers.as_ref().and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Err(status),
            None if !self.ended => Err(Status::unknown("the response ended without a status")),
            _ => self.messages.check_end().map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::{FutureExt as _, stream};
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use quartet::post::v1::ListPostsResponse;

    use super::*;

    /// What comes of a response with this frame and this status in its trailers.
    fn read(frame: &'static [u8], status: Option<&'static str>) -> Result<usize, Status> {
        let trailers = status.map(|status| {
            let status = (Status::GRPC_STATUS, HeaderValue::from_static(status));
            Frame::trailers(HeaderMap::from_iter([status]))
        });
        let frames = [Frame::data(Bytes::from_static(frame))].into_iter().chain(trailers);
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        let messages = MessageReader::new(Body::new(body), MESSAGE_BYTES);
        let mut responses = Responses { messages, ended: false };
        let mut count = 0;
        while let Some(ListPostsResponse { .. }) =
            responses.next().now_or_never().expect("it waits for nothing")?
        {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_response_ends_as_its_trailers_say_and_never_without_them() {
        const WHOLE: &[u8] = &[0, 0, 0, 0, 0];
        const CUT: &[u8] = &[0, 0, 0, 0, 2, 1];
        assert_eq!(read(WHOLE, Some("0")).unwrap(), 1);
        for (frame, status, code) in [
            (WHOLE, None, Code::Unknown),
            (WHOLE, Some("11"), Code::OutOfRange),
            (CUT, Some("0"), Code::Internal),
            (CUT, Some("14"), Code::Unavailable),
            (&[0, 0, 0, 0, 1, 7], Some("0"), Code::Internal), // no ListPostsResponse
        ] {
            assert_eq!(read(frame, status).unwrap_err().code(), code, "{frame:?}, {status:?}");
        }
    }
}
