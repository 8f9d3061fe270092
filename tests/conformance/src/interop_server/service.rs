//! `grpc.testing.TestService` on tonic, written by hand: what tonic generates has no trailers for
//! the status OK, which streams can end with.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use async_stream::try_stream;
use conformance::testing::{
    Answer, BoolValue, ECHO_INITIAL, ECHO_TRAILING, EchoStatus, Empty, Payload, SERVICE,
    SimpleRequest, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest,
};
use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use prost::Message;
use quartet_connection::RequestBody;
use tokio::time::sleep;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::flags::{Flagged, Flags};

/// The methods that take one message.
pub(crate) const TAKE_ONE: [&str; 3] = [
    "/grpc.testing.TestService/EmptyCall",
    "/grpc.testing.TestService/UnaryCall",
    "/grpc.testing.TestService/StreamingOutputCall",
];

type Replies<M> = BoxStream<'static, Result<M, Status>>;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct TestService;

impl NamedService for TestService {
    const NAME: &'static str = SERVICE;
}

fn grpc<Q, R>() -> Grpc<ProstCodec<R, Q>>
where
    Q: Message + Default + 'static,
    R: Message + Default + 'static,
{
    let gzip = CompressionEncoding::Gzip;
    Grpc::new(ProstCodec::default())
        .accept_compressed(gzip)
        .send_compressed(gzip)
        .max_decoding_message_size(16 << 20)
}

impl Service<http::Request<RequestBody>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let flags = Flags::default();
        let mut request =
            request.map(|body| Flagged { body, framing: Default::default(), flags: flags.clone() });
        request.extensions_mut().insert(flags);
        async move {
            Ok(match path.rsplit('/').next().unwrap_or_default() {
                "EmptyCall" => grpc().unary(service_fn(empty_call), request).await,
                "UnaryCall" => grpc().server_streaming(service_fn(unary_call), request).await,
                "StreamingOutputCall" => {
                    grpc().server_streaming(service_fn(streaming_output_call), request).await
                }
                "StreamingInputCall" => {
                    grpc().client_streaming(service_fn(streaming_input_call), request).await
                }
                "FullDuplexCall" => grpc().streaming(service_fn(full_duplex_call), request).await,
                "HalfDuplexCall" => grpc().streaming(service_fn(half_duplex_call), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        }
        .boxed()
    }
}

async fn empty_call(_: Request<Empty>) -> Result<Response<Empty>, Status> {
    Ok(Response::new(Empty {}))
}

async fn unary_call(request: Request<SimpleRequest>) -> Result<Response<Replies<Answer>>, Status> {
    let flags = flags(&request);
    let (metadata, _, request) = request.into_parts();
    check_compression(&request.expect_compressed, &flags)?;
    let end = end(&metadata, &request.response_status);
    let is_compressed = is_true(&request.response_compressed);
    let replies = try_stream! {
        if end.code() == Code::Ok {
            let server_id = if request.fill_server_id { "quartet" } else { "" }.to_owned();
            yield Answer { payload: Payload::zeros(request.response_size), server_id };
        }
        Err(end)?;
    };
    Ok(response(&metadata, replies, is_compressed))
}

async fn streaming_output_call(
    request: Request<StreamingOutputCallRequest>,
) -> Result<Response<Replies<Answer>>, Status> {
    let (metadata, _, request) = request.into_parts();
    let is_compressed = request.response_parameters.iter().any(|one| is_true(&one.compressed));
    Ok(response(&metadata, answers(request), is_compressed))
}

async fn streaming_input_call(
    request: Request<Streaming<StreamingInputCallRequest>>,
) -> Result<Response<StreamingInputCallResponse>, Status> {
    let flags = flags(&request);
    let (mut requests, mut aggregated_payload_size) = (request.into_inner(), 0);
    while let Some(request) = requests.message().await? {
        check_compression(&request.expect_compressed, &flags)?;
        aggregated_payload_size += request.payload.map_or(0, |payload| payload.body.len() as i32);
    }
    Ok(Response::new(StreamingInputCallResponse { aggregated_payload_size }))
}

/// Answers each request before it reads the next.
async fn full_duplex_call(
    request: Request<Streaming<StreamingOutputCallRequest>>,
) -> Result<Response<Replies<Answer>>, Status> {
    let (metadata, _, mut requests) = request.into_parts();
    let end = end(&metadata, &None);
    let replies = try_stream! {
        while let Some(request) = requests.message().await? {
            for await answer in answers(request) {
                yield answer?;
            }
        }
        Err(end)?;
    };
    Ok(response(&metadata, replies, false))
}

/// Answers once all requests have come.
async fn half_duplex_call(
    request: Request<Streaming<StreamingOutputCallRequest>>,
) -> Result<Response<Replies<Answer>>, Status> {
    let (metadata, _, mut requests) = request.into_parts();
    let replies = try_stream! {
        let mut all = Vec::new();
        while let Some(request) = requests.message().await? {
            all.push(request);
        }
        for request in all {
            for await answer in answers(request) {
                yield answer?;
            }
        }
    };
    Ok(response(&metadata, replies, false))
}

/// The answers that a request asks for, and its status if that is an error.
fn answers(
    request: StreamingOutputCallRequest,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static {
    try_stream! {
        for one in request.response_parameters {
            sleep(Duration::from_micros(one.interval_us.max(0).unsigned_abs().into())).await;
            yield Answer { payload: Payload::zeros(one.size), ..Answer::default() };
        }
        if let Some(EchoStatus { code, message }) = request.response_status {
            Err(Status::new(code.into(), message))?;
        }
    }
}

/// A response with the metadata that the request asks back.
fn response(
    request: &MetadataMap,
    replies: impl Stream<Item = Result<Answer, Status>> + Send + 'static,
    is_compressed: bool,
) -> Response<Replies<Answer>> {
    let mut response = Response::new(replies.boxed());
    if let Some(value) = request.get(ECHO_INITIAL) {
        response.metadata_mut().insert(ECHO_INITIAL, value.clone());
    }
    if !is_compressed {
        response.disable_compression();
    }
    response
}

/// The end of a response: tonic sends trailers of the status OK too, if a stream ends with it.
fn end(request: &MetadataMap, status: &Option<EchoStatus>) -> Status {
    let EchoStatus { code, message } = status.clone().unwrap_or_default();
    let mut trailers = MetadataMap::new();
    if let Some(value) = request.get_bin(ECHO_TRAILING) {
        trailers.insert_bin(ECHO_TRAILING, value.clone());
    }
    Status::with_metadata(code.into(), message, trailers)
}

fn flags<T>(request: &Request<T>) -> Flags {
    request.extensions().get().cloned().unwrap_or_default()
}

fn check_compression(expected: &Option<BoolValue>, flags: &Flags) -> Result<(), Status> {
    let is_compressed = flags.next();
    match expected {
        Some(BoolValue { value }) if *value != is_compressed => {
            Err(Status::invalid_argument(format!("compressed: {is_compressed}")))
        }
        _ => Ok(()),
    }
}

fn is_true(flag: &Option<BoolValue>) -> bool {
    flag.as_ref().is_some_and(|flag| flag.value)
}
