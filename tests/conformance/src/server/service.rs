//! The suite's service on tonic, written by hand: what tonic generates has no trailers for the
//! status OK, which streams can end with.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use async_stream::try_stream;
use conformance::{
    Reply,
    proto::{
        BidiStreamRequest, ClientStreamRequest, ConformancePayload, IdempotentUnaryRequest,
        ServerStreamRequest, UnaryRequest, conformance_payload::RequestInfo,
    },
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use prost::{Message, Name};
use prost_types::Any;
use quartet_connection::RequestBody;
use tokio::time::sleep;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::plan::{Plan, headers, metadata};

/// The methods that take one message.
pub(crate) const TAKE_ONE: [&str; 4] = [
    "/connectrpc.conformance.v1.ConformanceService/Unary",
    "/connectrpc.conformance.v1.ConformanceService/IdempotentUnary",
    "/connectrpc.conformance.v1.ConformanceService/Unimplemented",
    "/connectrpc.conformance.v1.ConformanceService/ServerStream",
];

type Replies = BoxStream<'static, Result<Reply, Status>>;
type Answer = Result<Response<Replies>, Status>;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Conformance {
    limit: Option<u32>,
}

impl Conformance {
    /// A service that takes messages of up to `limit` bytes.
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self { limit }
    }

    fn grpc<M: Message + Default + 'static>(&self) -> Grpc<ProstCodec<Reply, M>> {
        let all =
            [CompressionEncoding::Gzip, CompressionEncoding::Zstd, CompressionEncoding::Deflate];
        let grpc = Grpc::new(ProstCodec::default());
        let grpc = all.into_iter().fold(grpc, |grpc, encoding| {
            grpc.accept_compressed(encoding).send_compressed(encoding)
        });
        match self.limit {
            Some(limit) => grpc.max_decoding_message_size(limit as usize),
            None => grpc,
        }
    }
}

impl NamedService for Conformance {
    const NAME: &'static str = "connectrpc.conformance.v1.ConformanceService";
}

impl Service<http::Request<RequestBody>> for Conformance {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        let this = self.clone();
        let path = request.uri().path().to_owned();
        async move {
            let method = path.rsplit('/').next().unwrap_or_default();
            Ok(match method {
                "Unary" => this.grpc().server_streaming(service_fn(unary), request).await,
                "IdempotentUnary" => {
                    this.grpc().server_streaming(service_fn(idempotent_unary), request).await
                }
                "ServerStream" => {
                    this.grpc().server_streaming(service_fn(server_stream), request).await
                }
                "ClientStream" => this.grpc().streaming(service_fn(client_stream), request).await,
                "BidiStream" => this.grpc().streaming(service_fn(bidi_stream), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        }
        .boxed()
    }
}

async fn unary(request: Request<UnaryRequest>) -> Answer {
    let plan = Plan::single(request.get_ref().response_definition.clone());
    let received = info(request.metadata(), vec![any(request.get_ref())]);
    Ok(answer(plan, received))
}

async fn idempotent_unary(request: Request<IdempotentUnaryRequest>) -> Answer {
    let plan = Plan::single(request.get_ref().response_definition.clone());
    let received = info(request.metadata(), vec![any(request.get_ref())]);
    Ok(answer(plan, received))
}

async fn server_stream(request: Request<ServerStreamRequest>) -> Answer {
    let plan = Plan::stream(request.get_ref().response_definition.clone());
    let received = info(request.metadata(), vec![any(request.get_ref())]);
    Ok(answer(plan, received))
}

async fn client_stream(request: Request<Streaming<ClientStreamRequest>>) -> Answer {
    let (metadata, _, mut requests) = request.into_parts();
    let (mut definition, mut received) = (None, Vec::new());
    while let Some(message) = requests.message().await? {
        if received.is_empty() {
            definition = message.response_definition.clone();
        }
        received.push(any(&message));
    }
    Ok(answer(Plan::single(definition), info(&metadata, received)))
}

async fn bidi_stream(request: Request<Streaming<BidiStreamRequest>>) -> Answer {
    let (metadata, _, mut requests) = request.into_parts();
    let Some(first) = requests.message().await? else {
        return Ok(answer(Plan::default(), RequestInfo::default()));
    };
    let (first_any, plan) = (any(&first), Plan::stream(first.response_definition));
    if first.full_duplex {
        return Ok(take_turns(plan, info(&metadata, vec![first_any]), requests));
    }
    let mut received = vec![first_any];
    while let Some(message) = requests.message().await? {
        received.push(any(&message));
    }
    Ok(answer(plan, info(&metadata, received)))
}

/// The response to requests that have all come.
fn answer(plan: Plan, received: RequestInfo) -> Response<Replies> {
    with_headers(
        &plan.headers.clone(),
        try_stream! {
            let mut received = Some(received);
            for data in plan.data.clone() {
                sleep(plan.delay).await;
                yield reply(data, received.take());
            }
            Err(plan.status(received.as_ref().map(any)))?;
        },
    )
}

/// A response that sends a message for each request, and the others once all have come.
fn take_turns(
    plan: Plan,
    first: RequestInfo,
    mut requests: Streaming<BidiStreamRequest>,
) -> Response<Replies> {
    with_headers(
        &plan.headers.clone(),
        try_stream! {
            let mut received = Some(first);
            let mut is_open = true;
            for data in plan.data.clone() {
                sleep(plan.delay).await;
                yield reply(data, received.take());
                if is_open {
                    let next = requests.message().await?;
                    is_open = next.is_some();
                    received = next.map(|next| RequestInfo {
                        requests: vec![any(&next)],
                        ..RequestInfo::default()
                    });
                }
            }
            let unanswered = received.filter(|_| plan.data.is_empty());
            Err(plan.status(unanswered.as_ref().map(any)))?;
        },
    )
}

fn with_headers(
    headers: &[conformance::proto::Header],
    replies: impl futures::Stream<Item = Result<Reply, Status>> + Send + 'static,
) -> Response<Replies> {
    let mut response = Response::new(replies.boxed());
    *response.metadata_mut() = metadata(headers);
    response
}

fn reply(data: Vec<u8>, request_info: Option<RequestInfo>) -> Reply {
    Reply { payload: Some(ConformancePayload { data, request_info }) }
}

fn info(metadata: &MetadataMap, requests: Vec<Any>) -> RequestInfo {
    let timeout = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
    RequestInfo {
        request_headers: headers(metadata),
        timeout_ms: timeout.and_then(milliseconds),
        requests,
        connect_get_info: None,
    }
}

fn milliseconds(timeout: &str) -> Option<i64> {
    let (number, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok()?;
    Some(match unit {
        "H" => number * 3_600_000,
        "M" => number * 60_000,
        "S" => number * 1000,
        "m" => number,
        "u" => number / 1000,
        _ => number / 1_000_000,
    })
}

fn any(message: &(impl Message + Name)) -> Any {
    let type_url = format!("type.googleapis.com/{}", name(message));
    Any { type_url, value: message.encode_to_vec() }
}

fn name<M: Name>(_: &M) -> String {
    M::full_name()
}
