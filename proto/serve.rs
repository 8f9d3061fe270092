//! The adapter between HTTP and handlers: one function for each RPC kind.
//!
//! The request is one message or [`Streaming`], the response one message or a stream of
//! [`Responses`]. Generated servers call these functions; nothing else is between a connection and
//! a handler.
//!
//! Messages are decoded directly from frames and encoded directly into frames. Messages that are
//! ready together share a frame. An idle stream holds no buffer; tonic's reader and writer keep two
//! and a decoder, 0.6 KiB per stream.
//!
//! Not here: compression, which is a layer's work. A call whose `grpc-encoding` no layer has taken
//! away gets UNIMPLEMENTED.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE, request::Parts};
use http_body::{Body as HttpBody, Frame};
use quartet_wire::{
    compression::{Encoding, GRPC_ENCODING},
    messages::{MessageReader, Part},
};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codegen::tokio_stream::Stream,
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
};

use crate::{
    codec::{self, Decode, Encode},
    limits::{BATCH_BYTES, REQUEST_BYTES},
};

/// A future of the response's head and body.
pub type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// The body of a request.
pub trait GrpcBody: HttpBody<Data = Bytes, Error = Status> + Send + Unpin + 'static {}

impl<B: HttpBody<Data = Bytes, Error = Status> + Send + Unpin + 'static> GrpcBody for B {}

/// The responses of a streaming call. An error is the status that ends it; without one it ends OK.
pub trait Responses<M>: Stream<Item = Result<M, Status>> + Send + Unpin + 'static {}

impl<M, S: Stream<Item = Result<M, Status>> + Send + Unpin + 'static> Responses<M> for S {}

/// One request, one response.
pub fn unary<B, Q, A, H, F>(request: http::Request<B>, handler: H) -> ResponseFuture
where
    B: GrpcBody,
    Q: Decode + Send + 'static,
    A: Encode + 'static,
    H: FnOnce(Request<Q>) -> F + Send + 'static,
    F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    Box::pin(async move {
        Ok(match one_request(request).await {
            Ok(request) => one_response(handler(request).await),
            Err(status) => status.into_http(),
        })
    })
}

/// One request, a stream of responses.
pub fn server_streaming<B, Q, A, S, H, F>(request: http::Request<B>, handler: H) -> ResponseFuture
where
    B: GrpcBody,
    Q: Decode + Send + 'static,
    A: Encode + 'static,
    S: Responses<A>,
    H: FnOnce(Request<Q>) -> F + Send + 'static,
    F: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    Box::pin(async move {
        Ok(match one_request(request).await {
            Ok(request) => many_responses(handler(request).await),
            Err(status) => status.into_http(),
        })
    })
}

/// A stream of requests, one response.
pub fn client_streaming<B, Q, A, H, F>(request: http::Request<B>, handler: H) -> ResponseFuture
where
    B: GrpcBody,
    Q: Decode + Send + 'static,
    A: Encode + 'static,
    H: FnOnce(Request<Streaming<Q>>) -> F + Send + 'static,
    F: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    Box::pin(async move {
        Ok(match many_requests(request) {
            Ok(request) => one_response(handler(request).await),
            Err(status) => status.into_http(),
        })
    })
}

/// A stream of requests and, independently, a stream of responses.
pub fn bidirectional<B, Q, A, S, H, F>(request: http::Request<B>, handler: H) -> ResponseFuture
where
    B: GrpcBody,
    Q: Decode + Send + 'static,
    A: Encode + 'static,
    S: Responses<A>,
    H: FnOnce(Request<Streaming<Q>>) -> F + Send + 'static,
    F: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    Box::pin(async move {
        Ok(match many_requests(request) {
            Ok(request) => many_responses(handler(request).await),
            Err(status) => status.into_http(),
        })
    })
}

/// The response to a call of a method that is not there: UNIMPLEMENTED, UNKNOWN_METHOD.
pub fn unimplemented(path: &str) -> ResponseFuture {
    Box::pin(ready(Ok(codec::unknown_method(path).into_http())))
}

async fn one_request<Q: Decode>(
    request: http::Request<impl GrpcBody>,
) -> Result<Request<Q>, Status> {
    let (head, body) = request.into_parts();
    refuse_encoding(&head.headers)?;
    let mut messages = MessageReader::new(body, REQUEST_BYTES);
    let Some(message) = poll_fn(|cx| poll_message(&mut messages, cx)).await? else {
        return Err(codec::request_count("none"));
    };
    if poll_fn(|cx| poll_message(&mut messages, cx)).await?.is_some() {
        return Err(codec::request_count("more"));
    }
    Ok(with_head(head, Q::decode(message).map_err(codec::undecodable)?))
}

/// The next message; `None` after the last. Nothing follows an error.
fn poll_message<B: GrpcBody>(
    messages: &mut MessageReader<B>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, Status>> {
    Poll::Ready(match ready!(messages.poll_next(cx)).map_err(codec::unreadable)? {
        Part::Message(message) => Ok(Some(message)),
        Part::End(_) => messages.check_end().map_err(codec::unreadable).map(|()| None),
    })
}

fn many_requests<Q>(
    request: http::Request<impl GrpcBody>,
) -> Result<Request<Streaming<Q>>, Status> {
    let (head, body) = request.into_parts();
    refuse_encoding(&head.headers)?;
    Ok(with_head(head, Streaming::new(body)))
}

fn with_head<T>(head: Parts, message: T) -> Request<T> {
    Request::from_parts(MetadataMap::from_headers(head.headers), head.extensions, message)
}

/// Refuses every encoding except `identity`. One that this build knows is left here only if no
/// layer reads any.
fn refuse_encoding(headers: &HeaderMap) -> Result<(), Status> {
    let Some(name) = headers.get(GRPC_ENCODING).filter(|name| *name != "identity") else {
        return Ok(());
    };
    let name = String::from_utf8_lossy(name.as_bytes());
    let accepted = match Encoding::named(&name) {
        Some(_) => "identity".to_owned(),
        None => Encoding::accepted(),
    };
    Err(codec::unknown_encoding(&name, &accepted))
}

fn one_response<A: Encode>(answer: Result<Response<A>, Status>) -> http::Response<Body> {
    match answer {
        Ok(response) => with_metadata(response.map(|message| {
            Body::new(Single { frame: Some(codec::frame(&message)), trailers: Some(ok_trailers()) })
        })),
        Err(status) => status.into_http(),
    }
}

fn many_responses<A: Encode + 'static, S: Responses<A>>(
    answer: Result<Response<S>, Status>,
) -> http::Response<Body> {
    match answer {
        Ok(response) => {
            with_metadata(response.map(|responses| Body::new(StreamedBody::new(responses))))
        }
        Err(status) => status.into_http(),
    }
}

fn with_metadata(response: Response<Body>) -> http::Response<Body> {
    let (metadata, body, extensions) = response.into_parts();
    let mut response = http::Response::new(body);
    *response.headers_mut() = metadata.into_headers();
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    *response.extensions_mut() = extensions;
    response
}

fn ok_trailers() -> HeaderMap {
    HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))])
}

/// The requests of a call, in the order sent.
///
/// The stream ends when the client half-closes. An unreadable request or a broken call is an error;
/// nothing follows it. `next` is cancel-safe.
#[derive(Debug)]
pub struct Streaming<M> {
    messages: MessageReader<Body>,
    message: PhantomData<fn() -> M>,
}

impl<M> Streaming<M> {
    /// Reads requests from this body.
    pub fn new(body: impl GrpcBody) -> Self {
        Self { messages: MessageReader::new(Body::new(body), REQUEST_BYTES), message: PhantomData }
    }
}

impl<M: Decode> Streaming<M> {
    /// The next request; `None` once the client has half-closed. Cancel-safe.
    ///
    /// # Errors
    /// See [`Streaming`].
    pub async fn message(&mut self) -> Result<Option<M>, Status> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
    }
}

impl<M: Decode> Stream for Streaming<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(poll_message(&mut self.messages, cx))?;
        Poll::Ready(message.map(|message| M::decode(message).map_err(codec::undecodable)))
    }
}

/// A response of one message.
struct Single {
    frame: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Single {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = self.frame.take().map(|frame| Ok(Frame::data(frame)));
        Poll::Ready(frame.or_else(|| Some(Ok(Frame::trailers(self.trailers.take()?)))))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }
}

/// A response of any number of messages, sent as they become ready, then the status.
struct StreamedBody<S> {
    /// `None` once the stream has ended.
    responses: Option<S>,
    /// The status to send, once the stream has ended.
    status: Option<Status>,
}

impl<S> StreamedBody<S> {
    fn new(responses: S) -> Self {
        Self { responses: Some(responses), status: None }
    }
}

impl<M: Encode, S: Stream<Item = Result<M, Status>> + Unpin> HttpBody for StreamedBody<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut chunk = BytesMut::new();
        while let Some(responses) = &mut self.responses
            && chunk.len() < BATCH_BYTES
        {
            let status = match Pin::new(responses).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    codec::put_frame(&message, &mut chunk);
                    continue;
                }
                Poll::Ready(Some(Err(status))) => status,
                Poll::Ready(None) => Status::new(Code::Ok, ""),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            };
            // Dropped here, so that the handler's resources are free before the status is sent.
            (self.responses, self.status) = (None, Some(status));
        }
        if !chunk.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))));
        }
        Poll::Ready(self.status.take().map(|status| {
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            Ok(Frame::trailers(trailers))
        }))
    }
}
