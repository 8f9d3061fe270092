//! The pings that detect a dead connection, by the rules of grpc-go's client.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use h2::{Ping, PingPong, Reason};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::vitals::Vitals;
use crate::{
    cause::{Cause, debug_text},
    keepalive::ClientParameters,
};

/// What a server's GOAWAY says when a client pings more often than the server allows, by [gRFC
/// A8](https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md).
const TOO_MANY_PINGS: &str = "too_many_pings";

/// The parameters of a channel's next connection. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Keepalive(Arc<Mutex<ClientParameters>>);

impl Keepalive {
    pub(super) fn new(parameters: ClientParameters) -> Self {
        Self(Arc::new(Mutex::new(parameters)))
    }

    pub(super) fn parameters(&self) -> ClientParameters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If this error is a server's complaint about pings, new connections ping half as often as
    /// the one that it ended, which pinged after each `used`. gRFC A8 asks for that, and for a log
    /// entry at a level that is on by default.
    pub(super) fn note_end(&self, error: &h2::Error, used: Option<Duration>) {
        let is_complaint = error.is_go_away()
            && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
            && debug_text(error).as_deref() == Some(TOO_MANY_PINGS);
        let Some(used) = used.filter(|_| is_complaint) else { return };
        let mut parameters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Several connections may end for the same reason at once.
        let time = parameters.time.unwrap_or_default().max(used.saturating_mul(2));
        parameters.time = Some(time);
        tracing::error!(
            "the server closed a connection: GOAWAY ENHANCE_YOUR_CALM ({TOO_MANY_PINGS}); the \
             keepalive time of new connections is now {time:?}"
        );
    }
}

/// Pings after each silence. Returns when nothing arrives after a ping; pending forever without a
/// time between pings.
pub(super) async fn watch(
    parameters: ClientParameters,
    vitals: &Vitals,
    mut pings: PingPong,
) -> Cause {
    let Some(time) = parameters.time else { return std::future::pending().await };
    loop {
        let silence_ends = vitals.last_read() + time;
        if silence_ends > Instant::now() {
            sleep_until(silence_ends).await;
            continue;
        }
        if !parameters.permit_without_stream {
            vitals.wait_for_stream().await;
        }
        if !is_answered(parameters, vitals, &mut pings).await {
            return Cause::Silent(parameters.timeout);
        }
    }
}

/// Sends a ping. Whether anything arrives in time: its answer, or other bytes.
async fn is_answered(parameters: ClientParameters, vitals: &Vitals, pings: &mut PingPong) -> bool {
    let mut since = Instant::now();
    if pings.send_ping(Ping::opaque()).is_err() {
        // The connection is ending, which its driver notices.
        return std::future::pending().await;
    }
    loop {
        let pong = std::future::poll_fn(|cx| pings.poll_pong(cx));
        match timeout_at(since + parameters.timeout, pong).await {
            Ok(Ok(_)) => return true,
            Ok(Err(_)) => return std::future::pending().await, // as above
            Err(_) if vitals.last_read() > since => since = vitals.last_read(),
            Err(_) => return false,
        }
    }
}
