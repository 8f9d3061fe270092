//! Requests that no generated client would send.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use quartet_client::Channel;
use tonic::{Status, body::Body};
use tower::{Service as _, ServiceExt as _};

use super::time::soon;

/// A gRPC message: a flag, a length, these bytes.
pub fn framed(message: &[u8]) -> Bytes {
    with_flag(0, message)
}

pub fn with_flag(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flag);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// Calls a method with a body of these chunks and returns its final status.
pub async fn status_of(channel: &Channel, path: &str, chunks: Vec<Bytes>) -> Status {
    status_with(channel, path, HeaderMap::new(), chunks).await
}

/// The same, with additional headers.
pub async fn status_with(
    channel: &Channel,
    path: &str,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
) -> Status {
    ended(answer(channel, path, headers, chunks).await).await
}

/// The whole response of a call: headers, bytes of the messages, trailers.
pub async fn all_of(
    channel: &Channel,
    path: &str,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
) -> (HeaderMap, Bytes, Option<HeaderMap>) {
    let (head, body) = answer(channel, path, headers, chunks).await.into_parts();
    let body = soon(body.collect()).await.unwrap();
    let trailers = body.trailers().cloned();
    (head.headers, body.to_bytes(), trailers)
}

/// The response headers of a call.
pub async fn headers_of(
    channel: &Channel,
    path: &str,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
) -> HeaderMap {
    answer(channel, path, headers, chunks).await.headers().clone()
}

async fn answer(
    channel: &Channel,
    path: &str,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
) -> Response<Body> {
    let frames = chunks.into_iter().map(|chunk| Ok::<_, Status>(Frame::data(chunk)));
    let mut request = Request::post(path.parse::<Uri>().unwrap())
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(tokio_stream::iter(frames))))
        .unwrap();
    request.headers_mut().extend(headers);
    let mut channel = channel.clone();
    soon(async { channel.ready().await?.call(request).await }).await.unwrap()
}

/// The status in the headers of a response, or else in its trailers.
async fn ended(response: Response<Body>) -> Status {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let body = soon(response.into_body().collect()).await.unwrap();
    let trailers = body.trailers().expect("a response has trailers");
    Status::from_header_map(trailers).expect("trailers have a status")
}
