//! The pings that detect a dead connection, by the rules of grpc-go's client.

use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::vitals::Vitals;
use crate::{cause::Cause, keepalive::ClientParameters};

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
