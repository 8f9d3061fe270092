//! One address: its connection, or the way to one.
//!
//! ```text
//! IDLE ──connect──> CONNECTING ──> READY ──lost──> IDLE
//!                       └──> TRANSIENT_FAILURE ──backoff──> IDLE
//! ```
//!
//! A connection is READY when the server has spoken HTTP/2 on it, and, if health is watched, has said that it is serving. The
//! backoff runs from the start of an attempt, and begins again after a connection that was READY.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    connection::{self, Connection, Open},
    health::{self, Health},
    picker::Trouble,
    policy::{Id, State},
};
use crate::{EXPLAIN, backoff::Exponential, connect::Settings, dial::Address, transport::Dial};

/// A server that hangs up as soon as it has accepted must not be called without a pause.
const LEAST_LIFE: Duration = Duration::from_millis(100);

/// What all subchannels of a channel have in common.
pub(crate) struct Plan {
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) settings: Settings,
    /// From one attempt to connect to the next.
    pub(crate) backoff: Exponential,
    /// The service whose health is watched.
    pub(crate) health: Option<String>,
}

/// Tells a balancer what becomes of a subchannel. When the balancer is gone, nobody wants to know.
struct Events {
    id: Id,
    address: Address,
    sender: mpsc::Sender<(Id, State<Connection>)>,
}

impl Events {
    async fn tell(&self, state: State<Connection>) {
        tracing::debug!(target: EXPLAIN, "{}: {state}", self.address);
        // The balancer ends this task before it stops to listen.
        let _ = self.sender.send((self.id, state)).await;
    }
}

/// Connects whenever it is told to. It begins IDLE, and ends when it is aborted.
pub(super) async fn run(
    plan: Arc<Plan>,
    address: Address,
    id: Id,
    connect: Arc<Notify>,
    sender: mpsc::Sender<(Id, State<Connection>)>,
) {
    let mut backoff = plan.backoff;
    let events = Events { id, address, sender };
    loop {
        connect.notified().await;
        events.tell(State::Connecting).await;
        let started = Instant::now();
        match connection::open(&plan, &events.address).await {
            Ok(open) => {
                backoff.reset();
                let ready = Instant::now();
                serve(&plan, &events, open).await;
                sleep_until(ready + LEAST_LIFE).await;
            }
            Err(error) => {
                let next = started + backoff.next_delay();
                events.tell(State::TransientFailure(Trouble::Connect(Arc::new(error)))).await;
                sleep_until(next).await;
            }
        }
        events.tell(State::Idle).await;
    }
}

/// Until the connection takes no more calls.
async fn serve(plan: &Plan, events: &Events, open: Open) {
    let Open { connection, closed } = open;
    let Some(service) = &plan.health else {
        events.tell(State::Ready(connection)).await;
        closed.await;
        return;
    };
    let watch = health::watch(connection.clone(), service.clone(), plan.backoff);
    // A watch that has ended has said its last word.
    let mut watch = pin!(watch.chain(stream::pending()).take_until(closed));
    while let Some(health) = watch.next().await {
        events
            .tell(match health {
                Health::Unknown => State::Connecting,
                Health::Serving => State::Ready(connection.clone()),
                Health::NotServing(why) => State::TransientFailure(Trouble::Other(why)),
            })
            .await;
    }
}
