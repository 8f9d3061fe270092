//! The chain: what every call passes on its way to a connection, whatever its kind.
//!
//! Most of what a call carries is in its headers, so most layers only add one. Whatever makes connections stands below:
//! the chain is the same over all of it.

use std::{fmt::Display, time::Duration};

use http::{HeaderName, HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Service, ServiceBuilder, util::BoxCloneSyncService};

use crate::credentials::{Authorize, Credentials};
pub use trace_context::TraceContext;

mod log;
mod trace_context;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

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

/// A value that does not come again has no use for a place in HPACK's table, where it would push others out.
fn unindexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Says how much time is left.
fn limit(mut request: Request<Body>, deadline: Option<Instant>) -> Request<Body> {
    if let Some(deadline) = deadline {
        request.headers_mut().insert(GRPC_TIMEOUT, timeout_until(deadline));
    }
    request
}

/// The time that is left, as gRPC over HTTP/2 writes it: at most eight digits and a unit.
fn timeout_until(deadline: Instant) -> HeaderValue {
    const EIGHT_DIGITS: u128 = 99_999_999;
    let left: Duration = deadline.saturating_duration_since(Instant::now());
    let value = match left.as_millis() {
        millis @ 0..=EIGHT_DIGITS => format!("{millis}m"),
        millis => format!("{}S", (millis / 1000).min(EIGHT_DIGITS)),
    };
    HeaderValue::try_from(value).expect("invariant: it is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timeout_has_at_most_eight_digits_and_is_never_negative() {
        for (left, value) in [
            (Duration::ZERO, "0m"),
            (Duration::from_millis(1500), "1500m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::from_secs(u64::from(u32::MAX)), "99999999S"),
        ] {
            assert_eq!(timeout_until(Instant::now() + left), value);
        }
        let past = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(timeout_until(past), "0m");
    }
}
