//! What the balancing policies have in common. They are state machines without a clock of their own or a network, so that they can be
//! tested with states made up.

#[cfg(test)]
use std::sync::Arc;

use std::fmt;

use tokio::time::Instant;

use super::{
    pick_first::PickFirst,
    picker::{Picker, Trouble},
    round_robin::RoundRobin,
};
use crate::{dial::Address, service_config::Balancing};

/// Names a subchannel.
pub(crate) type Id = u64;

/// The state of a subchannel. One that is shut down is gone.
#[derive(Debug, Clone)]
pub(crate) enum State<C> {
    /// It has no connection and makes none. Where it begins, and where it is after a loss and at the end of a backoff.
    Idle,
    /// It makes one.
    Connecting,
    /// It has one that takes calls.
    Ready(C),
    /// It failed to make one, and waits before it may try again.
    TransientFailure(Trouble),
}

impl<C> fmt::Display for State<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("IDLE"),
            Self::Connecting => f.write_str("CONNECTING"),
            Self::Ready(_) => f.write_str("READY"),
            Self::TransientFailure(why) => write!(f, "TRANSIENT_FAILURE, {why}"),
        }
    }
}

/// What a policy acts on.
pub(crate) trait Pool {
    /// A new subchannel, which is idle.
    fn open(&mut self, address: Address) -> Id;
    /// Makes an idle one connect.
    fn connect(&mut self, id: Id);
    /// Ends it. What it says afterwards is not heard.
    fn close(&mut self, id: Id);
    /// Asks for new addresses.
    fn resolve_again(&mut self);
}

/// One of the two policies.
#[derive(Debug)]
pub(crate) struct Policy<C> {
    kind: Kind<C>,
    /// Why there are no addresses, while there are none.
    unresolved: Option<Trouble>,
    resolved: bool,
}

#[derive(Debug)]
enum Kind<C> {
    PickFirst(PickFirst<C>),
    RoundRobin(RoundRobin<C>),
}

impl<C: Clone> Policy<C> {
    pub(crate) fn new(balancing: Balancing) -> Self {
        let kind = match balancing {
            Balancing::PickFirst { shuffle } => Kind::PickFirst(PickFirst::new(shuffle)),
            Balancing::RoundRobin => Kind::RoundRobin(RoundRobin::default()),
        };
        Self { kind, unresolved: None, resolved: false }
    }

    /// These are the addresses now.
    pub(crate) fn resolved(&mut self, pool: &mut impl Pool, mut addresses: Vec<Address>) {
        (self.resolved, self.unresolved) = (true, None);
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        match &mut self.kind {
            Kind::PickFirst(policy) => policy.resolved(pool, addresses),
            Kind::RoundRobin(policy) => policy.resolved(pool, addresses),
        }
    }

    /// There are no new addresses. Those that there were are used on.
    pub(crate) fn unresolved(&mut self, problem: String) {
        tracing::debug!(problem, "no addresses");
        if !self.resolved {
            self.unresolved = Some(Trouble::Other(problem));
        }
    }

    /// A subchannel is in this state now.
    pub(crate) fn changed(&mut self, pool: &mut impl Pool, id: Id, state: State<C>) {
        match &mut self.kind {
            Kind::PickFirst(policy) => policy.changed(pool, id, state),
            Kind::RoundRobin(policy) => policy.changed(pool, id, state),
        }
    }

    /// A call wants a connection, and there is none.
    pub(crate) fn exit_idle(&mut self, pool: &mut impl Pool) {
        if let Kind::PickFirst(policy) = &mut self.kind {
            policy.exit_idle(pool);
        }
    }

    /// When [`Self::time_is_up`] wants to be called.
    pub(crate) fn timer(&self) -> Option<Instant> {
        match &self.kind {
            Kind::PickFirst(policy) => policy.timer(),
            Kind::RoundRobin(_) => None,
        }
    }

    pub(crate) fn time_is_up(&mut self, pool: &mut impl Pool) {
        if let Kind::PickFirst(policy) = &mut self.kind {
            policy.time_is_up(pool);
        }
    }

    /// Whether every connection that is wanted was made or has failed.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.kind {
            Kind::RoundRobin(policy) if self.resolved => policy.is_settled(),
            _ => matches!(self.picker(), Picker::Ready(_) | Picker::Failing(_)),
        }
    }

    /// What calls do now.
    pub(crate) fn picker(&self) -> Picker<C> {
        match (&self.unresolved, &self.kind) {
            (Some(trouble), _) => Picker::Failing(trouble.clone()),
            (None, _) if !self.resolved => Picker::Connecting,
            (None, Kind::PickFirst(policy)) => policy.picker(),
            (None, Kind::RoundRobin(policy)) => policy.picker(),
        }
    }
}

/// A pool for tests, which writes down what it is told.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) open: std::collections::BTreeMap<Id, Address>,
    pub(super) connecting: Vec<Id>,
    pub(super) lookups: usize,
    next: Id,
}

#[cfg(test)]
impl Pool for Recorded {
    fn open(&mut self, address: Address) -> Id {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, address);
        id
    }

    fn connect(&mut self, id: Id) {
        assert!(self.open.contains_key(&id), "{id} is closed");
        self.connecting.push(id);
    }

    fn close(&mut self, id: Id) {
        assert!(self.open.remove(&id).is_some(), "{id} is closed already");
        self.connecting.retain(|&connecting| connecting != id);
    }

    fn resolve_again(&mut self) {
        self.lookups += 1;
    }
}

#[cfg(test)]
pub(super) fn trouble(text: &str) -> Trouble {
    let source = std::io::Error::other(text.to_owned());
    let address = Address::Name(text.to_owned());
    Trouble::Connect(Arc::new(crate::transport::ConnectError { address, source }))
}

#[cfg(test)]
pub(super) fn names(names: &[&str]) -> Vec<Address> {
    names.iter().map(|&name| Address::Name(name.to_owned())).collect()
}
