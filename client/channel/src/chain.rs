//! The layers that every call passes on its way to the retry policy and the balancer, whatever its
//! kind. Most of them only add a header.

use std::fmt::Display;

use http::{Request, Response};
use quartet_wire::{compression::Encoding, timeout};
use tokio::time::Instant;
use tonic::{Status, body::Body};
use tower::{Service, ServiceBuilder, util::BoxCloneSyncService};

use crate::credentials::Credentials;

mod authorize;
mod compress;
mod log;
mod request_id;
mod trace_context;

use authorize::Authorize;
use log::Log;
pub use trace_context::{InvalidTraceparent, TraceContext};

/// A service with the layers around it.
pub(crate) type Layered<E> = BoxCloneSyncService<Request<Body>, Response<Body>, E>;

/// What all calls of a channel have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallContext {
    /// When calls end with DEADLINE_EXCEEDED.
    pub(crate) deadline: Option<Instant>,
    /// The trace that calls belong to.
    pub(crate) trace: TraceContext,
    /// How messages are compressed.
    pub(crate) compression: Option<Encoding>,
    /// Who makes the calls.
    pub(crate) credentials: Option<Credentials>,
}

/// Puts the layers around a service.
// ANCHOR: chain
pub(crate) fn around<S>(inner: S, context: CallContext) -> Layered<S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: From<Status> + Send + Display + 'static,
{
    let CallContext { deadline, trace, compression, credentials } = context;
    let layers = ServiceBuilder::new()
        // Outermost, so that every other layer can log the id. The server logs the same one.
        .map_request(request_id::assign)
        // Around everything that can fail: logs how each call ended.
        .layer_fn(Log)
        // Tells the server when the caller stops waiting.
        .map_request(move |request| limit(request, deadline))
        // Lets the server record its work as part of the caller's trace.
        .map_request(move |request| trace.mark(request))
        // No other layer sees compressed messages; retries keep them compressed.
        .map_request(move |request| compress::request(request, compression))
        .map_response(move |response| compress::response(response, compression))
        // Innermost: no other layer, and so no log, sees the token.
        .layer_fn(move |inner| Authorize::new(inner, credentials.clone()));
    BoxCloneSyncService::new(layers.service(inner))
}
// ANCHOR_END: chain

/// Sets `grpc-timeout` to the time that is left until the deadline.
fn limit(mut request: Request<Body>, deadline: Option<Instant>) -> Request<Body> {
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        request.headers_mut().insert(timeout::GRPC_TIMEOUT, timeout::format(left));
    }
    request
}
