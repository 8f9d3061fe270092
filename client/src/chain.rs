//! The chain: what every call passes on its way to a connection, whatever its kind.
//!
//! Most of what a call carries is in its headers, so most layers only add one. Whatever makes connections stands below:
//! the chain is the same over all of it.

use std::fmt::Display;

use http::{HeaderName, HeaderValue, Request, Response};
use quartet_wire::{timeout, unindexed};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Service, ServiceBuilder, util::BoxCloneSyncService};

use crate::credentials::{Authorize, Credentials};
pub use trace_context::TraceContext;

mod log;
mod trace_context;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A channel with the chain around it.
pub(crate) type Chained<E> = BoxCloneSyncService<Request<Body>, Response<Body>, E>;

/// What all calls of a channel carry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carried {
    /// When they must have ended.
    pub(crate) deadline: Option<Instant>,
    /// What they are part of.
    pub(crate) trace: TraceContext,
    /// Who makes them.
    pub(crate) credentials: Option<Credentials>,
}

/// This channel, behind the chain.
// ANCHOR: chain
pub(crate) fn around<S>(channel: S, carried: Carried) -> Chained<S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Send + Display + 'static,
{
    let Carried { deadline, trace, credentials } = carried;
    let chain = ServiceBuilder::new()
        // First, so that all else can name the call: the server logs the same name.
        .map_request(name)
        // Around all that can fail: it tells how each call ended.
        .layer_fn(log::Log)
        // The server shall stop when nobody waits any more.
        .map_request(move |request| limit(request, deadline))
        // What the server does for this call belongs to it in a trace.
        .map_request(move |request| trace.mark(request))
        // Innermost, the token: nothing above sees it, least of all the log.
        .layer_fn(move |channel| Authorize::new(channel, credentials.clone()));
    BoxCloneSyncService::new(chain.service(channel))
}
// ANCHOR_END: chain

/// Gives a call a name, unless it has one.
fn name(mut request: Request<Body>) -> Request<Body> {
    let made = || {
        let id = format!("{:016x}", fastrand::u64(..));
        unindexed(HeaderValue::try_from(id).expect("invariant: it is ASCII"))
    };
    request.headers_mut().entry(X_REQUEST_ID).or_insert_with(made);
    request
}

/// Says how much time is left.
fn limit(mut request: Request<Body>, deadline: Option<Instant>) -> Request<Body> {
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        request.headers_mut().insert(timeout::GRPC_TIMEOUT, timeout::format(left));
    }
    request
}
