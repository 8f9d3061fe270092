//! The balancing policy of a channel: pick_first or round_robin.

use std::collections::HashSet;

use tokio::time::Instant;

use super::{
    pick_first::PickFirst,
    picker::{Picker, Unreachable},
    pool::{Pool, State, SubchannelId},
    round_robin::RoundRobin,
};
use crate::{address::Address, service_config::Balancing};

/// A policy, and the results of address resolution.
#[derive(Debug)]
pub(crate) struct BalancingPolicy<C> {
    kind: Kind<C>,
    /// Why there are no addresses yet.
    unresolved: Option<Unreachable>,
    /// Whether addresses were ever resolved.
    resolved: bool,
}

#[derive(Debug)]
enum Kind<C> {
    PickFirst(PickFirst<C>),
    RoundRobin(RoundRobin<C>),
}

impl<C: Clone> BalancingPolicy<C> {
    pub(crate) fn new(balancing: Balancing) -> Self {
        let kind = match balancing {
            Balancing::PickFirst { shuffle } => Kind::PickFirst(PickFirst::new(shuffle)),
            Balancing::RoundRobin => Kind::RoundRobin(RoundRobin::default()),
        };
        Self { kind, unresolved: None, resolved: false }
    }

    /// Takes new addresses, without duplicates.
    pub(crate) fn resolved(&mut self, pool: &mut impl Pool, mut addresses: Vec<Address>) {
        (self.resolved, self.unresolved) = (true, None);
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        match &mut self.kind {
            Kind::PickFirst(policy) => policy.resolved(pool, addresses),
            Kind::RoundRobin(policy) => policy.resolved(pool, addresses),
        }
    }

    /// Resolution failed. Earlier addresses stay in use.
    pub(crate) fn unresolved(&mut self, problem: String) {
        tracing::debug!(problem, "no addresses");
        if !self.resolved {
            self.unresolved = Some(Unreachable::Other(problem));
        }
    }

    /// A subchannel has changed its state.
    pub(crate) fn changed(&mut self, pool: &mut impl Pool, id: SubchannelId, state: State<C>) {
        match &mut self.kind {
            Kind::PickFirst(policy) => policy.changed(pool, id, state),
            Kind::RoundRobin(policy) => policy.changed(pool, id, state),
        }
    }

    /// A call needs a connection while the policy is idle.
    pub(crate) fn exit_idle(&mut self, pool: &mut impl Pool) {
        if let Kind::PickFirst(policy) = &mut self.kind {
            policy.exit_idle(pool);
        }
    }

    /// When to call [`Self::timer_fired`].
    pub(crate) fn timer(&self) -> Option<Instant> {
        match &self.kind {
            Kind::PickFirst(policy) => policy.timer(),
            Kind::RoundRobin(_) => None,
        }
    }

    /// The time of [`Self::timer`] has come.
    pub(crate) fn timer_fired(&mut self, pool: &mut impl Pool) {
        if let Kind::PickFirst(policy) = &mut self.kind {
            policy.timer_fired(pool);
        }
    }

    /// Whether every connection attempt has succeeded or failed at least once.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.kind {
            Kind::RoundRobin(policy) if self.resolved => policy.is_settled(),
            _ => matches!(self.picker(), Picker::Ready(_) | Picker::Failing(_)),
        }
    }

    /// The decision for calls.
    pub(crate) fn picker(&self) -> Picker<C> {
        match (&self.unresolved, &self.kind) {
            (Some(reason), _) => Picker::Failing(reason.clone()),
            (None, _) if !self.resolved => Picker::Connecting,
            (None, Kind::PickFirst(policy)) => policy.picker(),
            (None, Kind::RoundRobin(policy)) => policy.picker(),
        }
    }
}
