//! What calls are made on: a connection to a server, and what every call on it carries.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::time::Instant;
use tonic::{body::Body, transport};
use tower::Service;

use crate::chain::{self, Carried, Chained, TraceContext};

/// A connection to a server, which is made again whenever it is gone. Clones share it.
///
/// Any [`tonic::transport::Channel`] is one; so are generated clients made over it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Without the chain.
    below: transport::Channel,
    carried: Carried,
    chained: Chained<transport::Error>,
}

impl Channel {
    fn over(below: transport::Channel, carried: Carried) -> Self {
        let chained = chain::around(below.clone(), carried.clone());
        Self { below, carried, chained }
    }

    /// The same connection for calls that must all have ended by then, however often they are resumed. Each call tells the
    /// server how much time is left (`grpc-timeout`), and both sides end it with DEADLINE_EXCEEDED.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Self::over(self.below, Carried { deadline: Some(deadline), ..self.carried })
    }

    /// The same connection for calls that are part of something. Without it, they are a trace of their own.
    #[must_use]
    pub fn with_trace_context(self, trace: TraceContext) -> Self {
        Self::over(self.below, Carried { trace, ..self.carried })
    }
}

impl From<transport::Channel> for Channel {
    fn from(below: transport::Channel) -> Self {
        Self::over(below, Carried::default())
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = <Chained<transport::Error> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        self.chained.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.chained.call(request)
    }
}
