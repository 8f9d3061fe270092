//! What calls are made on: a connection to a server, and what every call on it carries.

use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::time::Instant;
use tonic::{body::Body, transport};
use tower::Service;

use crate::{
    Error,
    chain::{self, Carried, Chained, TraceContext},
    credentials::Credentials,
};

/// A connection to a server, which is made again whenever it is gone. Clones share it.
///
/// Any [`tonic::transport::Channel`] is one; so are generated clients made over it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Without the chain.
    below: transport::Channel,
    carried: Carried,
    chained: Chained<transport::Error>,
    /// Whether nobody on the way can read it.
    is_secure: bool,
}

impl Channel {
    fn over(below: transport::Channel, carried: Carried, is_secure: bool) -> Self {
        let chained = chain::around(below.clone(), carried.clone());
        Self { below, carried, chained, is_secure }
    }

    fn carrying(self, carried: Carried) -> Self {
        Self::over(self.below, carried, self.is_secure)
    }

    /// The same connection for calls that must all have ended by then, however often they are resumed. Each call tells the
    /// server how much time is left (`grpc-timeout`), and both sides end it with DEADLINE_EXCEEDED.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        let carried = Carried { deadline: Some(deadline), ..self.carried.clone() };
        self.carrying(carried)
    }

    /// The same connection for calls that are part of something. Without it, they are a trace of their own.
    #[must_use]
    pub fn with_trace_context(self, trace: TraceContext) -> Self {
        let carried = Carried { trace, ..self.carried.clone() };
        self.carrying(carried)
    }

    /// The same connection for calls that say who makes them.
    ///
    /// # Errors
    /// [`Error::Plaintext`] if everybody on the way could read it.
    pub fn with_credentials(self, credentials: Credentials) -> Result<Self, Error> {
        if !credentials.fit(self.is_secure) {
            return Err(Error::Plaintext);
        }
        let carried = Carried { credentials: Some(credentials), ..self.carried.clone() };
        Ok(self.carrying(carried))
    }

    /// A connection that nobody on the way can read.
    pub(crate) fn secure(below: transport::Channel) -> Self {
        Self::over(below, Carried::default(), true)
    }
}

impl From<transport::Channel> for Channel {
    fn from(below: transport::Channel) -> Self {
        Self::over(below, Carried::default(), false)
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
