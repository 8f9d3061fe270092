//! A server-streaming call whose messages are read where they arrived.
//!
//! It behaves as a call of the generated client does, without tonic's copy of every message: a
//! [`Decode`] type may keep the bytes of the frame that brought it.

use std::future::poll_fn;

use futures::{Stream, stream::try_unfold};
use http::{
    HeaderValue, Request,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::Full;
use quartet::codec::{self, Decode, Encode};
use quartet_channel::{Cause, Channel};
use quartet_wire::messages::{MessageReader, Part};
use tonic::{Code, Status, body::Body, metadata::GRPC_CONTENT_TYPE};
use tower::ServiceExt as _;

/// The largest message that is accepted, tonic's default. The service config may allow less.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Makes a call with one request. Returns the messages once the head of the response has arrived.
///
/// The stream ends after the last message if the status is OK. Cancel-safe: dropping the future or
/// the stream resets the call.
///
/// # Errors
/// The status of the call or of its transport. In the stream also UNKNOWN if the response ends
/// without a status, and INTERNAL if a message cannot be decoded.
pub(crate) async fn server_streaming<M: Decode>(
    channel: Channel,
    path: &'static str,
    request: impl Encode,
) -> Result<impl Stream<Item = Result<M, Status>> + Send, Status> {
    let mut request = Request::post(path)
        .body(Body::new(Full::new(codec::frame(&request))))
        .map_err(|error| Status::from_error(error.into()))?;
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    let (head, body) = channel.oneshot(request).await?.into_parts();
    let ended_ok = match Status::from_header_map(&head.headers) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) => true,
        None => false,
    };
    let body = ResponseBody { messages: MessageReader::new(body, MESSAGE_BYTES), ended_ok };
    Ok(try_unfold(body, async |mut body| Ok(body.next().await?.map(|message| (message, body)))))
}

/// The body of a response: messages, then trailers with the status.
struct ResponseBody {
    messages: MessageReader<Body>,
    /// Whether the head already carried the status OK. Such a response needs no trailers.
    ended_ok: bool,
}

impl ResponseBody {
    /// Waits for the next message; `None` after the last. Cancel-safe.
    async fn next<M: Decode>(&mut self) -> Result<Option<M>, Status> {
        let trailers = match poll_fn(|cx| self.messages.poll_next(cx)).await? {
            Part::Message(message) => {
                return M::decode(message).map(Some).map_err(Status::internal);
            }
            Part::End(trailers) => trailers,
        };
        match trailers.as_ref().and_then(Status::from_header_map) {
            Some(status) if status.code() != Code::Ok => Err(status),
            None if !self.ended_ok => Err(Cause::NoStatus.into()),
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

    /// The number of messages in a response of one frame, with this status in its trailers.
    fn read(frame: &'static [u8], status: Option<&'static str>) -> Result<usize, Status> {
        let trailers = status.map(|status| {
            let status = (Status::GRPC_STATUS, HeaderValue::from_static(status));
            Frame::trailers(HeaderMap::from_iter([status]))
        });
        let frames = [Frame::data(Bytes::from_static(frame))].into_iter().chain(trailers);
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        let messages = MessageReader::new(Body::new(body), MESSAGE_BYTES);
        let mut body = ResponseBody { messages, ended_ok: false };
        let mut count = 0;
        while let Some(ListPostsResponse { .. }) =
            body.next().now_or_never().expect("the whole body is there")?
        {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_response_ends_with_the_status_of_its_trailers_and_never_without_one() {
        const WHOLE: &[u8] = &[0, 0, 0, 0, 0];
        const CUT: &[u8] = &[0, 0, 0, 0, 2, 1];
        assert_eq!(read(WHOLE, Some("0")).unwrap(), 1);
        for (frame, status, code) in [
            (WHOLE, None, Code::Unknown),
            (WHOLE, Some("11"), Code::OutOfRange),
            (CUT, Some("0"), Code::Internal),
            (CUT, Some("14"), Code::Unavailable),
            (&[0, 0, 0, 0, 1, 7], Some("0"), Code::Internal), // not a ListPostsResponse
        ] {
            assert_eq!(read(frame, status).unwrap_err().code(), code, "{frame:?}, {status:?}");
        }
    }
}
