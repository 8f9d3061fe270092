//! Which server takes a call: gRPC's load balancing.
//!
//! ```text
//! resolve.rs ── addresses ──> policy (pick_first.rs, round_robin.rs) ── picker ──> calls
//!                               │  ▲
//!                  open, connect│  │states
//!                               ▼  │
//!                          subchannel.rs, one for each address: dial, handshake, [health.rs], backoff
//! ```
//!
//! One task owns the policy and the subchannels, and decides. What it decides is a [`Picker`], which calls read without asking
//! anybody. The states are gRPC's [connectivity semantics](https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md).
//!
//! Nothing is connected before the first call. When the last [`Balancer`] is dropped, the task ends with its subchannels; streams
//! that are open go on until they end by themselves.

use std::{
    collections::HashMap,
    future,
    pin::pin,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use tokio::{
    sync::{Notify, mpsc},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};
use tonic::Status;

use crate::{
    dial::Address,
    resolve::{self, Resolved},
    service_config::Balancing,
    target::Place,
};

pub(crate) mod connection;
mod health;
mod pick_first;
mod picker;
mod policy;
mod round_robin;
mod subchannel;

pub(crate) use connection::{Connection, Failure, Seen};
use picker::{Picker, Trouble};
use policy::{Id, Policy, Pool, State};
pub(crate) use subchannel::Plan;

/// Changes of state that may wait for the balancer. It does nothing else than to take them.
const EVENTS: usize = 16;

/// What calls read.
#[derive(Debug)]
struct Decision {
    picker: Picker<Connection>,
    /// No connection is being made for the first time.
    settled: bool,
}

/// Where the decision stands. A `watch` channel would wake in an order of chance whoever waits, and a simulation could not be
/// repeated.
#[derive(Debug)]
struct Board {
    decision: RwLock<Decision>,
    changed: Notify,
}

impl Board {
    fn read(&self) -> RwLockReadGuard<'_, Decision> {
        self.decision.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, picker: Picker<Connection>, settled: bool) {
        let decision = Decision { picker, settled };
        *self.decision.write().unwrap_or_else(PoisonError::into_inner) = decision;
        self.changed.notify_waiters();
    }

    /// The first result that a decision gives.
    async fn wait_for<T>(&self, mut result: impl FnMut(&Decision) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(result) = result(&self.read()) {
                return result;
            }
            changed.await;
        }
    }
}

/// Finds a connection for every call.
#[derive(Debug)]
pub(crate) struct Balancer {
    board: Arc<Board>,
    wanted: Arc<Notify>,
    /// Ends the task when it is dropped.
    _task: JoinSet<()>,
}

impl Balancer {
    pub(crate) fn start(place: Place, balancing: Balancing, plan: Plan) -> Self {
        let decision = RwLock::new(Decision { picker: Picker::Idle, settled: false });
        let board = Arc::new(Board { decision, changed: Notify::new() });
        let wanted = Arc::new(Notify::new());
        let (events_sender, events) = mpsc::channel(EVENTS);
        let plan = Arc::new(plan);
        let subchannels = Subchannels {
            plan,
            events: events_sender,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            next: 0,
            lookup: Arc::new(Notify::new()),
        };
        let policy = Policy::new(balancing);
        let task = Task {
            place,
            policy,
            subchannels,
            events,
            board: board.clone(),
            wanted: wanted.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Self { board, wanted, _task: tasks }
    }

    /// A connection that takes a call now.
    ///
    /// # Errors
    /// UNAVAILABLE if no server can be reached, unless `wait_for_ready`: then this waits. `trouble` is told meanwhile what the
    /// matter is.
    pub(crate) async fn pick(
        &self,
        wait_for_ready: bool,
        mut trouble: impl FnMut(Status),
    ) -> Result<Connection, Status> {
        // Most calls find a connection at once, and need not listen for changes.
        if let Some(connection) = self.board.read().picker.ready(Connection::is_open) {
            return Ok(connection);
        }
        let choose = |decision: &Decision| match &decision.picker {
            Picker::Idle => {
                self.wanted.notify_one();
                None
            }
            Picker::Connecting => None,
            // If all are closed, the balancer is about to hear of it.
            ready @ Picker::Ready(_) => ready.ready(Connection::is_open).map(Ok),
            Picker::Failing(why) if wait_for_ready => {
                trouble(why.status());
                None
            }
            Picker::Failing(why) => Some(Err(why.status())),
        };
        self.board.wait_for(choose).await
    }

    /// Connects, and waits until every address that the policy wants has answered or failed once.
    pub(crate) async fn settle(&self) {
        self.wanted.notify_one();
        self.board.wait_for(|decision| decision.settled.then_some(())).await;
    }
}

struct Task {
    place: Place,
    policy: Policy<Connection>,
    subchannels: Subchannels,
    events: mpsc::Receiver<(Id, State<Connection>)>,
    board: Arc<Board>,
    wanted: Arc<Notify>,
}

impl Task {
    async fn run(mut self) {
        self.wanted.notified().await;
        self.board.publish(Picker::Connecting, false);
        let mut resolved = self.start_to_resolve();
        loop {
            tokio::select! {
                biased;
                Some((id, state)) = self.events.recv() => {
                    // A subchannel that was closed may have said something last.
                    if self.subchannels.open.contains_key(&id) {
                        self.policy.changed(&mut self.subchannels, id, state);
                    }
                }
                Some(found) = resolved.recv() => self.resolved(found),
                () = at(self.policy.timer()) => self.policy.time_is_up(&mut self.subchannels),
                () = self.wanted.notified() => self.policy.exit_idle(&mut self.subchannels),
            }
            self.subchannels.reap();
            self.board.publish(self.policy.picker(), self.policy.is_settled());
        }
    }

    fn start_to_resolve(&mut self) -> mpsc::Receiver<Resolved> {
        let (sender, resolved) = mpsc::channel(1);
        let lookup = self.subchannels.lookup.clone();
        self.subchannels.tasks.spawn(resolve::resolve(self.place.clone(), lookup, sender));
        resolved
    }

    fn resolved(&mut self, found: Resolved) {
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                tracing::debug!(?addresses, "resolved");
                self.policy.resolved(&mut self.subchannels, addresses);
            }
            Ok(_) => self.policy.unresolved("the target has no addresses".into()),
            Err(error) => self.policy.unresolved(error.to_string()),
        }
    }
}

/// Calls must not wait for a task that is gone, whatever ended it.
impl Drop for Task {
    fn drop(&mut self) {
        let trouble = Trouble::Other("the channel's task has ended".into());
        self.board.publish(Picker::Failing(trouble), true);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

/// The subchannels that are open, as tasks.
struct Subchannels {
    plan: Arc<Plan>,
    events: mpsc::Sender<(Id, State<Connection>)>,
    tasks: JoinSet<()>,
    open: HashMap<Id, Handle>,
    next: Id,
    lookup: Arc<Notify>,
}

struct Handle {
    connect: Arc<Notify>,
    task: AbortHandle,
}

impl Subchannels {
    /// Forgets the tasks that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the channel panicked");
            }
        }
    }
}

impl Pool for Subchannels {
    fn open(&mut self, address: Address) -> Id {
        let (id, connect) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        let (plan, events) = (self.plan.clone(), self.events.clone());
        let task = self.tasks.spawn(subchannel::run(plan, address, id, connect.clone(), events));
        self.open.insert(id, Handle { connect, task });
        id
    }

    fn connect(&mut self, id: Id) {
        if let Some(handle) = self.open.get(&id) {
            handle.connect.notify_one();
        }
    }

    fn close(&mut self, id: Id) {
        if let Some(handle) = self.open.remove(&id) {
            handle.task.abort();
        }
    }

    fn resolve_again(&mut self) {
        self.lookup.notify_one();
    }
}
