//! Health checking of a server by its client, [gRFC
//! A17](https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md): a call of
//! `grpc.health.v1.Health/Watch` for as long as the connection lives.
//!
//! A server without a health service counts as serving.

use std::pin::pin;

use async_stream::stream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::uri::PathAndQuery;
use tokio::time::sleep;
use tonic::{Code, Request, Response, Status, client::Grpc};
use tonic_prost::ProstCodec;

use super::connection::Connection;
use crate::backoff::Exponential;

/// The health of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// No report has arrived yet.
    Unknown,
    /// It accepts calls.
    Serving,
    /// It must get no calls, for this reason.
    NotServing(String),
}

/// The two messages of `grpc/health/v1/health.proto`, with the fields that are used. Written by
/// hand: the crate `tonic-health` would add its server as well.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

/// The health of `service`, whenever it changes. A broken watch is repeated with backoff.
pub(super) fn watch(
    connection: Connection,
    service: String,
    mut backoff: Exponential,
) -> impl Stream<Item = Health> + Send {
    stream! {
        loop {
            yield Health::Unknown;
            let mut answers = pin!(watch_once(connection.clone(), service.clone()));
            let mut ended = Status::unavailable("the server ended the watch");
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(HealthCheckResponse { status: SERVING }) => yield Health::Serving,
                    Ok(_) => yield Health::NotServing("the server is not serving".into()),
                    Err(status) => {
                        ended = status;
                        break;
                    }
                }
                backoff.reset();
            }
            if ended.code() == Code::Unimplemented {
                // A17 asks for a log entry at a high level: the check was configured and has no
                // effect.
                tracing::error!("health is not checked: the server has no health service");
                yield Health::Serving;
                return;
            }
            yield Health::NotServing(format!("the health check failed: {}", ended.message()));
            sleep(backoff.next_delay()).await;
        }
    }
}

/// One call as a stream. The error of a call that fails is its only item.
fn watch_once(
    connection: Connection,
    service: String,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send {
    let call = async move {
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
        let request = Request::new(HealthCheckRequest { service });
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let response = Grpc::new(connection).server_streaming(request, path, codec).await;
        response.map(Response::into_inner)
    };
    stream::once(call).try_flatten()
}
