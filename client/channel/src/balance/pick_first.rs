//! pick_first: connect to the addresses in order, and stay with the first that accepts.
//!
//! A *pass* goes through the list. The next address is tried when the previous one has failed or
//! has not answered for 250 ms ("Happy Eyeballs", [RFC
//! 8305](https://www.rfc-editor.org/rfc/rfc8305) and [gRFC
//! A61](https://github.com/grpc/proposal/blob/master/A61-IPv4-IPv6-dualstack-backends.md)). IPv6
//! and IPv4 addresses alternate, so that a network without IPv6 costs a moment instead of a
//! timeout. When all addresses have failed, calls fail as well, until one of the addresses, each
//! retried after its own backoff, accepts.

use std::{collections::VecDeque, mem::take, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    picker::{Picker, Rotation, Unreachable},
    pool::{Pool, State, SubchannelId},
};
use crate::address::Address;

/// How long to wait for an address before the next one is tried as well: the value of RFC 8305.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct PickFirst<C> {
    shuffle: bool,
    addresses: Vec<Address>,
    phase: Phase<C>,
}

#[derive(Debug)]
enum Phase<C> {
    /// No call needs a connection.
    Idle,
    Connecting(Pass),
    Ready {
        id: SubchannelId,
        address: Address,
        picker: Picker<C>,
    },
}

/// The progress through the list.
#[derive(Debug, Default)]
struct Pass {
    /// Addresses that were not tried yet.
    untried: VecDeque<Address>,
    tried: Vec<Tried>,
    /// When the next address is tried, even if the previous ones have not failed.
    next_at: Option<Instant>,
    /// The last failure, once all addresses have failed: calls fail with it.
    failing: Option<Unreachable>,
}

#[derive(Debug)]
struct Tried {
    id: SubchannelId,
    address: Address,
    failed: bool,
}

impl<C: Clone> PickFirst<C> {
    pub(crate) fn new(shuffle: bool) -> Self {
        Self { shuffle, addresses: Vec::new(), phase: Phase::Idle }
    }

    pub(crate) fn resolved(&mut self, pool: &mut impl Pool, mut addresses: Vec<Address>) {
        if self.shuffle {
            fastrand::shuffle(&mut addresses);
        }
        let first_time = self.addresses.is_empty();
        self.addresses = alternate(addresses);
        match &mut self.phase {
            // The first resolution was requested by a call.
            Phase::Idle if first_time => self.begin(pool, None),
            Phase::Idle => {}
            Phase::Ready { address, .. } if self.addresses.contains(address) => {}
            Phase::Ready { id, .. } => {
                pool.close(*id);
                self.begin(pool, None);
            }
            Phase::Connecting(pass) => {
                // Addresses that are also in the new list keep their backoff.
                let gone =
                    pass.tried.extract_if(.., |tried| !self.addresses.contains(&tried.address));
                gone.for_each(|tried| pool.close(tried.id));
                let is_tried =
                    |address: &Address| pass.tried.iter().any(|tried| tried.address == *address);
                pass.untried =
                    self.addresses.iter().filter(|address| !is_tried(address)).cloned().collect();
                if pass.next_at.is_none() {
                    pass.try_next(pool);
                }
            }
        }
    }

    pub(crate) fn exit_idle(&mut self, pool: &mut impl Pool) {
        if matches!(self.phase, Phase::Idle) && !self.addresses.is_empty() {
            self.begin(pool, None);
        }
    }

    fn begin(&mut self, pool: &mut impl Pool, failing: Option<Unreachable>) {
        let untried = self.addresses.iter().cloned().collect();
        let mut pass = Pass { untried, failing, ..Pass::default() };
        pass.try_next(pool);
        self.phase = Phase::Connecting(pass);
    }

    pub(crate) fn changed(&mut self, pool: &mut impl Pool, id: SubchannelId, state: State<C>) {
        match (&mut self.phase, state) {
            (Phase::Connecting(pass), State::Ready(connection)) => {
                if let Some(ready) = pass.select(pool, id) {
                    let picker = Picker::Ready(Rotation::new([connection], Arc::default()));
                    self.phase = Phase::Ready { id, address: ready.address, picker };
                }
            }
            (Phase::Connecting(pass), State::TransientFailure(reason)) => {
                pass.failed(pool, id, reason)
            }
            // Its backoff is over. A pass goes on while calls may wait for it.
            (Phase::Connecting(_), State::Idle) => pool.connect(id),
            // The connection was lost. The next call starts a new pass, with the latest addresses.
            (Phase::Ready { id: selected, .. }, State::Idle) if *selected == id => {
                pool.close(id);
                pool.resolve_again();
                self.phase = Phase::Idle;
            }
            _ => {}
        }
    }

    pub(crate) fn timer(&self) -> Option<Instant> {
        let Phase::Connecting(pass) = &self.phase else { return None };
        pass.next_at
    }

    pub(crate) fn timer_fired(&mut self, pool: &mut impl Pool) {
        if let Phase::Connecting(pass) = &mut self.phase {
            pass.try_next(pool);
        }
    }

    pub(crate) fn picker(&self) -> Picker<C> {
        match &self.phase {
            Phase::Idle => Picker::Idle,
            Phase::Connecting(Pass { failing: Some(reason), .. }) => {
                Picker::Failing(reason.clone())
            }
            Phase::Connecting(_) => Picker::Connecting,
            Phase::Ready { picker, .. } => picker.clone(),
        }
    }
}

impl Pass {
    fn try_next(&mut self, pool: &mut impl Pool) {
        self.next_at = None;
        if let Some(address) = self.untried.pop_front() {
            let id = pool.open(address.clone());
            pool.connect(id);
            self.tried.push(Tried { id, address, failed: false });
            self.next_at = (!self.untried.is_empty()).then(|| Instant::now() + ATTEMPT_DELAY);
        }
    }

    fn failed(&mut self, pool: &mut impl Pool, id: SubchannelId, reason: Unreachable) {
        if let Some(tried) = self.tried.iter_mut().find(|tried| tried.id == id) {
            tried.failed = true;
        }
        if !self.untried.is_empty() {
            self.try_next(pool);
        } else if self.tried.iter().all(|tried| tried.failed) {
            self.failing = Some(reason);
            pool.resolve_again();
        }
    }

    /// Keeps the subchannel that is ready, and closes the others.
    fn select(&mut self, pool: &mut impl Pool, id: SubchannelId) -> Option<Tried> {
        let (ready, others): (Vec<_>, Vec<_>) =
            take(&mut self.tried).into_iter().partition(|tried| tried.id == id);
        others.iter().for_each(|tried| pool.close(tried.id));
        ready.into_iter().next()
    }
}

/// Reorders addresses so that the two families alternate, starting with that of the first address.
fn alternate(addresses: Vec<Address>) -> Vec<Address> {
    let is_v6 = |address: &Address| matches!(address, Address::Tcp(SocketAddr::V6(_)));
    let first_is_v6 = addresses.first().is_some_and(is_v6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| is_v6(address) == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            return mixed;
        }
        mixed.extend(one.into_iter().chain(other));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::recorded_pool::{RecordedPool, names, unreachable},
        *,
    };

    fn policy(pool: &mut RecordedPool, addresses: &[&str]) -> PickFirst<&'static str> {
        let mut policy = PickFirst::new(false);
        policy.resolved(pool, names(addresses));
        policy
    }

    fn picked(policy: &PickFirst<&'static str>) -> Option<&'static str> {
        policy.picker().ready(|_| true)
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_tried_in_order_and_the_first_that_accepts_is_kept() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b", "c"]);
        assert_eq!(pool.connecting, [0]);
        policy.changed(&mut pool, 0, State::TransientFailure(unreachable("a")));
        assert_eq!(pool.connecting, [0, 1]);
        assert!(matches!(policy.picker(), Picker::Connecting));
        policy.changed(&mut pool, 1, State::Ready("b"));
        assert_eq!(picked(&policy), Some("b"));
        assert_eq!(pool.open.keys().collect::<Vec<_>>(), [&1], "the others are closed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_does_not_delay_the_next() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        assert_eq!(policy.timer(), Some(Instant::now() + ATTEMPT_DELAY));
        policy.timer_fired(&mut pool);
        assert_eq!((pool.connecting.as_slice(), policy.timer()), ([0, 1].as_slice(), None));
        policy.changed(&mut pool, 1, State::Ready("b"));
        assert_eq!(picked(&policy), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_have_failed_calls_fail_until_one_accepts_after_its_backoff() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::TransientFailure(unreachable("a")));
        policy.changed(&mut pool, 1, State::TransientFailure(unreachable("b")));
        let Picker::Failing(reason) = policy.picker() else { panic!("{policy:?}") };
        assert!(reason.status().message().contains('b'), "the last failure: {reason:?}");
        assert_eq!(pool.lookups, 1, "the addresses may have changed");
        policy.changed(&mut pool, 0, State::Idle);
        policy.changed(&mut pool, 0, State::Connecting);
        assert_eq!(pool.connecting, [0, 1, 0]);
        assert!(
            matches!(policy.picker(), Picker::Failing(_)),
            "gRPC stays in TRANSIENT_FAILURE until READY"
        );
        policy.changed(&mut pool, 0, State::Ready("a"));
        assert_eq!(picked(&policy), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_makes_it_idle_and_the_next_call_starts_with_the_first_address() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::TransientFailure(unreachable("a")));
        policy.changed(&mut pool, 1, State::Ready("b"));
        policy.changed(&mut pool, 1, State::Idle);
        assert!(matches!(policy.picker(), Picker::Idle));
        assert!(pool.open.is_empty() && pool.lookups == 1);
        policy.exit_idle(&mut pool);
        assert_eq!(pool.open.values().cloned().collect::<Vec<_>>(), names(&["a"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_survives_new_addresses_that_include_its_own() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a"]);
        policy.changed(&mut pool, 0, State::Ready("a"));
        policy.resolved(&mut pool, names(&["b", "a"]));
        assert_eq!(picked(&policy), Some("a"));
        policy.resolved(&mut pool, names(&["b"]));
        assert_eq!(pool.open.values().cloned().collect::<Vec<_>>(), names(&["b"]));
        assert!(matches!(policy.picker(), Picker::Connecting));
    }

    #[test]
    fn address_families_alternate() {
        let addresses = ["[::1]:1", "[::1]:2", "1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3"];
        let parse = |text: &&str| Address::Tcp(text.parse().unwrap());
        let mixed = alternate(addresses.iter().map(parse).collect());
        let expected = ["[::1]:1", "1.1.1.1:1", "[::1]:2", "1.1.1.1:2", "1.1.1.1:3"];
        assert_eq!(mixed, expected.iter().map(parse).collect::<Vec<_>>());
    }

    #[test]
    fn shuffling_spreads_clients_over_servers() {
        let firsts: std::collections::HashSet<_> = (0..200)
            .map(|_| {
                let (mut pool, mut policy) = (RecordedPool::default(), PickFirst::<()>::new(true));
                policy.resolved(&mut pool, names(&["a", "b", "c"]));
                pool.open[&0].clone()
            })
            .collect();
        assert_eq!(firsts.len(), 3);
    }
}
