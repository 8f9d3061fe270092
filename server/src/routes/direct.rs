//! A bidirectional call without tonic's reader and writer.
//!
//! Those keep two buffers, a decoder, and bodies in boxes for each stream, 0.6 KiB that a stream which waits has no use for. Here
//! are a reader and a writer that keep none: [`Requests`] takes messages out of the frames that bring them, and those that are
//! ready to go out together are encoded into one frame.
//!
//! A call whose head names an encoding goes to generated code, untouched: only that refuses it.

use std::{
    convert::Infallible,
    fmt,
    future::ready,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, Stream};
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use quartet::{
    limits::{BATCH_BYTES, REQUEST_BYTES},
    wire::{self, Decode, Encode},
};
use quartet_connection::RequestBody;
use quartet_wire::messages::{MessageReader, Part};
use tonic::{Code, Status, body::Body, metadata::GRPC_CONTENT_TYPE, server::NamedService};
use tower::Service;

use super::{Answer, Generated, is_plain_call_of};

/// A generated service with a shorter way to one of its bidirectional methods.
#[derive(Clone)]
pub struct Direct<S> {
    generated: S,
    path: &'static str,
    /// Answers a request.
    answer: Arc<dyn Fn(Request<RequestBody>) -> Response<Body> + Send + Sync>,
}

impl<S> Direct<S> {
    /// `handler` does what the method at `path` does in `generated`.
    pub fn new<Req, Res, Str>(
        generated: S,
        path: &'static str,
        handler: impl Fn(Request<Requests<Req>>) -> Response<Str> + Send + Sync + 'static,
    ) -> Self
    where
        Req: Decode,
        Res: Encode,
        Str: Stream<Item = Result<Res, Status>> + Send + 'static,
    {
        let answer = move |request: Request<RequestBody>| {
            let said = |messages| Body::new(Said::of(messages));
            let mut response = handler(request.map(Requests::of)).map(said);
            response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
            response
        };
        Self { generated, path, answer: Arc::new(answer) }
    }
}

impl<S: NamedService> NamedService for Direct<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Generated> Service<Request<RequestBody>> for Direct<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.generated.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Answer {
        if is_plain_call_of(self.path, &request) {
            return ready(Ok((self.answer)(request))).boxed();
        }
        self.generated.call(request)
    }
}

impl<S> fmt::Debug for Direct<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.path).finish()
    }
}

/// The requests of a call. Nothing follows an error.
#[derive(Debug)]
pub struct Requests<M> {
    messages: MessageReader<RequestBody>,
    message: PhantomData<fn() -> M>,
}

impl<M> Requests<M> {
    fn of(body: RequestBody) -> Self {
        Self { messages: MessageReader::new(body, REQUEST_BYTES), message: PhantomData }
    }
}

impl<M: Decode> Stream for Requests<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.messages.poll_next(cx))? {
            Part::Message(message) => Some(M::decode(message).map_err(wire::undecodable)),
            Part::End(_) => self.messages.check_end().err().map(Err),
        })
    }
}

/// What a call says: messages, then how it ends.
struct Said<S> {
    /// Gone once all are said.
    messages: Option<Pin<Box<S>>>,
    /// How it ended, until that is said, too.
    end: Option<Status>,
}

impl<S> Said<S> {
    fn of(messages: S) -> Self {
        Self { messages: Some(Box::pin(messages)), end: None }
    }
}

impl<M, S> http_body::Body for Said<S>
where
    M: Encode,
    S: Stream<Item = Result<M, Status>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut chunk = BytesMut::new();
        while let Some(messages) = &mut self.messages
            && chunk.len() < BATCH_BYTES
        {
            let end = match messages.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    wire::put_frame(&message, &mut chunk);
                    continue;
                }
                Poll::Ready(Some(Err(status))) => status,
                Poll::Ready(None) => Status::new(Code::Ok, ""),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            };
            (self.messages, self.end) = (None, Some(end));
        }
        if !chunk.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))));
        }
        Poll::Ready(self.end.take().map(|status| {
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            Ok(Frame::trailers(trailers))
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use quartet::post::v1::LogPosition;

    use super::*;

    fn message(sequence: i64) -> LogPosition {
        LogPosition { sequence, ..LogPosition::default() }
    }

    fn said(
        messages: impl Stream<Item = Result<LogPosition, Status>> + Send + 'static,
    ) -> impl http_body::Body<Data = Bytes, Error = Status> + Unpin {
        Said::of(messages)
    }

    #[tokio::test]
    async fn what_is_ready_goes_out_together_and_the_end_comes_behind_it() {
        for (end, code) in [(None, "0"), (Some(Status::aborted("")), "10")] {
            let end = stream::iter(end.map(Err));
            let mut body = said(stream::iter([1, 2]).map(|number| Ok(message(number))).chain(end));
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(data, [wire::frame(&message(1)), wire::frame(&message(2))].concat());
            let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
            assert_eq!(trailers.get(Status::GRPC_STATUS).unwrap(), code);
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_frame_waits_for_nothing_and_is_no_larger_than_a_batch() {
        let mut body = said(stream::iter([Ok(message(1))]).chain(stream::pending()));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, wire::frame(&message(1)));
        assert!(body.frame().now_or_never().is_none());

        let mut body = said(stream::repeat_with(|| Ok(message(1))));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!((BATCH_BYTES..2 * BATCH_BYTES).contains(&data.len()));
    }
}
