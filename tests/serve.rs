//! The adapter between HTTP and handlers: which messages share a frame, and what follows them.

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use quartet::{codec, limits::BATCH_BYTES, post::v1::LogPosition, serve};
use tonic::{Code, Request, Response, Status, body::Body};

fn message(sequence: i64) -> LogPosition {
    LogPosition { sequence, ..LogPosition::default() }
}

/// The response body of a call whose handler returns these messages.
async fn answer(
    messages: impl Stream<Item = Result<LogPosition, Status>> + Send + Unpin + 'static,
) -> Body {
    let request = Full::new(codec::frame(&message(7))).map_err(|never| match never {});
    let handler = move |request: Request<LogPosition>| async move {
        assert_eq!(request.into_inner(), message(7));
        Ok(Response::new(messages))
    };
    let Ok(response) = serve::server_streaming(http::Request::new(request), handler).await;
    assert_eq!(response.headers()["content-type"], "application/grpc");
    response.into_body()
}

async fn data(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn ready_messages_share_a_frame_and_the_status_follows() {
    for (end, code) in [(None, Code::Ok), (Some(Status::aborted("")), Code::Aborted)] {
        let end = stream::iter(end.map(Err));
        let mut body = answer(stream::iter([1, 2]).map(|n| Ok(message(n))).chain(end)).await;
        let both = [codec::frame(&message(1)), codec::frame(&message(2))].concat();
        assert_eq!(data(&mut body).await, both);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(Status::from_header_map(&trailers).unwrap().code(), code);
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_frame_does_not_wait_for_more_messages() {
    let mut body = answer(stream::iter([Ok(message(1))]).chain(stream::pending())).await;
    assert_eq!(data(&mut body).await, codec::frame(&message(1)));
    assert!(body.frame().now_or_never().is_none());
}

#[tokio::test]
async fn a_frame_holds_about_one_batch_at_most() {
    let mut body = answer(stream::repeat_with(|| Ok(message(1)))).await;
    assert!((BATCH_BYTES..2 * BATCH_BYTES).contains(&data(&mut body).await.len()));
}
