//! The service below the layers: takes calls, and makes attempts as the service config says.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::Service;

use super::{call::OutgoingCall, channel_core::ChannelCore, hedge, sequential};
use crate::service_config::CallPolicy;

/// Balances and retries calls.
#[derive(Debug, Clone)]
pub(crate) struct RetryService(pub(crate) Arc<ChannelCore>);

impl Service<Request<Body>> for RetryService {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(run(OutgoingCall::new(self.0.clone(), request)))
    }
}

async fn run(call: OutgoingCall) -> Result<Response<Body>, Status> {
    match &call.config.policy {
        CallPolicy::Hedge(policy) => match call.body.collected() {
            Some(request) => hedge::run(&call, policy, request).await,
            None => sequential::run(&call, None).await,
        },
        CallPolicy::Retry(policy) => sequential::run(&call, Some(policy)).await,
        CallPolicy::Once => sequential::run(&call, None).await,
    }
}
