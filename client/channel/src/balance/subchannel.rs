//! A subchannel: one address, and the connection to it.
//!
//! ```text
//! IDLE ──connect──> CONNECTING ──> READY ──lost──> IDLE
//!                       └──> TRANSIENT_FAILURE ──backoff──> IDLE
//! ```
//!
//! A connection is READY when the server has sent its SETTINGS and, if health is checked, has
//! reported SERVING. The backoff is measured from the start of an attempt, and starts again with
//! its first delay after a connection that was opened.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    connection::{self, Connection, OpenConnection},
    health::{self, Health},
    picker::Unreachable,
    pool::{State, SubchannelId},
};
use crate::{
    address::Address, backoff::Exponential, cause::Cause, explain::EXPLAIN, http2::Settings,
    transport::Dial,
};

/// Pause after a connection that was lost right away: a server that accepts and hangs up must not
/// be reconnected in a busy loop.
const MIN_LIFETIME: Duration = Duration::from_millis(100);

/// What all subchannels of a channel have in common.
pub(crate) struct SubchannelConfig {
    pub(crate) dialer: Arc<dyn Dial>,
    pub(crate) settings: Settings,
    /// Delays from one attempt to connect to the next.
    pub(crate) backoff: Exponential,
    /// The service whose health is checked; `None` for no check.
    pub(crate) health: Option<String>,
}

/// Reports the states of a subchannel to its balancer.
struct Events {
    id: SubchannelId,
    address: Address,
    sender: mpsc::Sender<(SubchannelId, State<Connection>)>,
}

impl Events {
    async fn report(&self, state: State<Connection>) {
        tracing::debug!(target: EXPLAIN, "{}: {state}", self.address);
        // Fails only while the balancer ends, which also aborts this task.
        let _ = self.sender.send((self.id, state)).await;
    }

    fn explain_end(&self, cause: Option<Cause>) {
        if let Some(cause) = cause {
            tracing::debug!(target: EXPLAIN, "{}: {cause}", self.address);
        }
    }
}

/// Connects whenever `connect` is notified. Starts IDLE, and runs until it is aborted.
pub(super) async fn run(
    config: Arc<SubchannelConfig>,
    address: Address,
    id: SubchannelId,
    connect: Arc<Notify>,
    sender: mpsc::Sender<(SubchannelId, State<Connection>)>,
) {
    let mut backoff = config.backoff;
    let events = Events { id, address, sender };
    loop {
        connect.notified().await;
        events.report(State::Connecting).await;
        let started = Instant::now();
        match connection::open(&*config.dialer, &config.settings, &events.address).await {
            Ok(open) => {
                backoff.reset();
                let ready = Instant::now();
                serve(&config, &events, open).await;
                sleep_until(ready + MIN_LIFETIME).await;
            }
            Err(error) => {
                let next = started + backoff.next_delay();
                let reason = Unreachable::Connect(Arc::new(error));
                events.report(State::TransientFailure(reason)).await;
                sleep_until(next).await;
            }
        }
        events.report(State::Idle).await;
    }
}

/// Drives a connection until it accepts no more calls.
async fn serve(config: &SubchannelConfig, events: &Events, open: OpenConnection) {
    let OpenConnection { connection, closed } = open;
    let Some(service) = &config.health else {
        events.report(State::Ready(connection)).await;
        return events.explain_end(closed.wait().await);
    };
    let watch = health::watch(connection.clone(), service.clone(), config.backoff);
    // The last health stays in force after the watch has ended.
    let mut watch = pin!(watch.chain(stream::pending()).take_until(closed.wait()));
    while let Some(health) = watch.next().await {
        let state = match health {
            Health::Unknown => State::Connecting,
            Health::Serving => State::Ready(connection.clone()),
            Health::NotServing(reason) => State::TransientFailure(Unreachable::Other(reason)),
        };
        events.report(state).await;
    }
    events.explain_end(closed.wait().await);
}
