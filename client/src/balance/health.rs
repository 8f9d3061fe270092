//! Whether a server that answers is also well: [gRPC health checking by
//! clients](https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md).
//!
//! A call of `grpc.health.v1.Health/Watch` on the connection itself, for as long as that lives. A server without health service
//! counts as well.

use std::pin::pin;

use async_stream::stream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::uri::PathAndQuery;
use tokio::time::sleep;
use tonic::{Code, Request, Response, Status, client::Grpc};
use tonic_prost::ProstCodec;

use super::Connection;
use crate::backoff::Exponential;

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It has not said yet.
    Unknown,
    /// It takes calls.
    Serving,
    /// It shall get none, for this reason.
    NotServing(String),
}

/// The messages of `grpc/health/v1/health.proto`, as far as they matter here.
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

/// The health of `service`, as it changes. A watch that breaks off is begun again after a delay.
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
                tracing::error!("health is not checked: the server has no health service");
                yield Health::Serving;
                return;
            }
            yield Health::NotServing(format!("the health check failed: {}", ended.message()));
            sleep(backoff.next_delay()).await;
        }
    }
}

/// One call as one stream: a call that fails is a stream that begins with the error.
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
