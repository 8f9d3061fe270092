//! The task that balances the calls of a channel, and the handle that calls use.

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

use super::{
    connection::Connection,
    picker::{Picker, Unreachable},
    policy::BalancingPolicy,
    pool::{Pool, State, SubchannelId},
    subchannel::{self, SubchannelConfig},
};
use crate::{
    address::Address,
    resolve::{self, Resolved},
    service_config::Balancing,
    target::AddressSource,
};

/// Changes of state that may be queued. The balancer handles each at once, so few are.
const EVENTS: usize = 16;

/// The decision of the policy, which calls read.
#[derive(Debug)]
struct Decision {
    picker: Picker<Connection>,
    /// Whether every first attempt to connect has ended.
    settled: bool,
}

/// The latest decision. Not a `watch` channel: that wakes its waiters in random order, and a
/// simulation could not be repeated.
#[derive(Debug)]
struct PublishedDecision {
    decision: RwLock<Decision>,
    changed: Notify,
}

impl PublishedDecision {
    fn read(&self) -> RwLockReadGuard<'_, Decision> {
        self.decision.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, picker: Picker<Connection>, settled: bool) {
        let decision = Decision { picker, settled };
        *self.decision.write().unwrap_or_else(PoisonError::into_inner) = decision;
        self.changed.notify_waiters();
    }

    /// Waits for a decision that has a result. Cancel-safe.
    async fn wait_for<T>(&self, mut result: impl FnMut(&Decision) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on, no change is missed.
            changed.as_mut().enable();
            if let Some(result) = result(&self.read()) {
                return result;
            }
            changed.await;
        }
    }
}

/// Finds a connection for each call.
#[derive(Debug)]
pub(crate) struct Balancer {
    published: Arc<PublishedDecision>,
    /// Notified when a call needs a connection while the channel is idle.
    wanted: Arc<Notify>,
    /// Aborts the task when it is dropped.
    _task: JoinSet<()>,
}

impl Balancer {
    /// Spawns the task on the current runtime.
    pub(crate) fn start(
        source: AddressSource,
        balancing: Balancing,
        config: SubchannelConfig,
    ) -> Self {
        let decision = RwLock::new(Decision { picker: Picker::Idle, settled: false });
        let published = Arc::new(PublishedDecision { decision, changed: Notify::new() });
        let wanted = Arc::new(Notify::new());
        let (events_sender, events) = mpsc::channel(EVENTS);
        let subchannels = SubchannelTasks {
            config: Arc::new(config),
            events: events_sender,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            next: 0,
            lookup: Arc::new(Notify::new()),
        };
        let policy = BalancingPolicy::new(balancing);
        let task = BalancerTask {
            source,
            policy,
            subchannels,
            events,
            published: published.clone(),
            wanted: wanted.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Self { published, wanted, _task: tasks }
    }

    /// Picks a connection for a call. Cancel-safe.
    ///
    /// # Errors
    /// UNAVAILABLE if no server can be reached. With `wait_for_ready` it waits instead, and passes
    /// each such status to `failing`.
    pub(crate) async fn pick(
        &self,
        wait_for_ready: bool,
        mut failing: impl FnMut(Status),
    ) -> Result<Connection, Status> {
        // The usual case: a connection is ready, and nothing has to be awaited.
        if let Some(connection) = self.published.read().picker.ready(Connection::is_open) {
            return Ok(connection);
        }
        let choose = |decision: &Decision| match &decision.picker {
            Picker::Idle => {
                self.wanted.notify_one();
                None
            }
            Picker::Connecting => None,
            // If all are closed, the task is about to publish another decision.
            ready @ Picker::Ready(_) => ready.ready(Connection::is_open).map(Ok),
            Picker::Failing(reason) if wait_for_ready => {
                failing(reason.status());
                None
            }
            Picker::Failing(reason) => Some(Err(reason.status())),
        };
        self.published.wait_for(choose).await
    }

    /// Connects, and waits until every address that the policy connects to has accepted or failed
    /// once. Cancel-safe.
    pub(crate) async fn settle(&self) {
        self.wanted.notify_one();
        self.published.wait_for(|decision| decision.settled.then_some(())).await;
    }
}

struct BalancerTask {
    source: AddressSource,
    policy: BalancingPolicy<Connection>,
    subchannels: SubchannelTasks,
    events: mpsc::Receiver<(SubchannelId, State<Connection>)>,
    published: Arc<PublishedDecision>,
    wanted: Arc<Notify>,
}

impl BalancerTask {
    async fn run(mut self) {
        self.wanted.notified().await;
        self.published.publish(Picker::Connecting, false);
        let mut resolved = self.start_to_resolve();
        loop {
            tokio::select! {
                biased;
                Some((id, state)) = self.events.recv() => {
                    // A closed subchannel may have sent an event before it ended.
                    if self.subchannels.open.contains_key(&id) {
                        self.policy.changed(&mut self.subchannels, id, state);
                    }
                }
                Some(found) = resolved.recv() => self.resolved(found),
                () = at(self.policy.timer()) => self.policy.timer_fired(&mut self.subchannels),
                () = self.wanted.notified() => self.policy.exit_idle(&mut self.subchannels),
            }
            self.subchannels.reap();
            self.published.publish(self.policy.picker(), self.policy.is_settled());
        }
    }

    fn start_to_resolve(&mut self) -> mpsc::Receiver<Resolved> {
        let (sender, resolved) = mpsc::channel(1);
        let lookup = self.subchannels.lookup.clone();
        self.subchannels.tasks.spawn(resolve::resolve(self.source.clone(), lookup, sender));
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

/// Calls must not wait for a task that is gone, for whatever reason.
impl Drop for BalancerTask {
    fn drop(&mut self) {
        let reason = Unreachable::Other("the channel's task has ended".into());
        self.published.publish(Picker::Failing(reason), true);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

/// The open subchannels, each of them a task.
struct SubchannelTasks {
    config: Arc<SubchannelConfig>,
    events: mpsc::Sender<(SubchannelId, State<Connection>)>,
    tasks: JoinSet<()>,
    open: HashMap<SubchannelId, SubchannelHandle>,
    next: SubchannelId,
    /// Requests another address resolution.
    lookup: Arc<Notify>,
}

struct SubchannelHandle {
    connect: Arc<Notify>,
    task: AbortHandle,
}

impl SubchannelTasks {
    /// Removes tasks that have ended, and logs panics.
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

impl Pool for SubchannelTasks {
    fn open(&mut self, address: Address) -> SubchannelId {
        let (id, connect) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        let (config, events) = (self.config.clone(), self.events.clone());
        let task = self.tasks.spawn(subchannel::run(config, address, id, connect.clone(), events));
        self.open.insert(id, SubchannelHandle { connect, task });
        id
    }

    fn connect(&mut self, id: SubchannelId) {
        if let Some(handle) = self.open.get(&id) {
            handle.connect.notify_one();
        }
    }

    fn close(&mut self, id: SubchannelId) {
        if let Some(handle) = self.open.remove(&id) {
            handle.task.abort();
        }
    }

    fn resolve_again(&mut self) {
        self.lookup.notify_one();
    }
}
