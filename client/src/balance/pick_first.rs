//! pick_first: try the addresses in their order, and stay with the first that answers.
//!
//! A *pass* goes through the list. The next address is tried when the one before has failed, or has not answered for 250 ms
//! ("Happy Eyeballs", [RFC 8305](https://www.rfc-editor.org/rfc/rfc8305), [gRFC A61](https://github.com/grpc/proposal/blob/master/A61-IPv4-IPv6-dualstack-backends.md)), and
//! addresses of both families alternate, so that a network without IPv6 costs a moment instead of a timeout. When all have
//! failed, calls fail too, until one of the addresses, each tried again after its own backoff, answers.

use std::{collections::VecDeque, mem::take, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    picker::{Picker, Trouble, Turns},
    policy::{Id, Pool, State},
};
use crate::dial::Address;

/// How long an address has to answer before the next one is tried beside it: RFC 8305's.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct PickFirst<C> {
    shuffle: bool,
    addresses: Vec<Address>,
    phase: Phase<C>,
}

#[derive(Debug)]
enum Phase<C> {
    /// No call wants a connection.
    Idle,
    Connecting(Pass),
    Ready {
        id: Id,
        address: Address,
        picker: Picker<C>,
    },
}

/// The way through the list.
#[derive(Debug, Default)]
struct Pass {
    /// Addresses that were not tried yet.
    left: VecDeque<Address>,
    tried: Vec<Tried>,
    /// When the next is tried in any case.
    next_at: Option<Instant>,
    /// All have failed at least once: this is what calls are told.
    failing: Option<Trouble>,
}

#[derive(Debug)]
struct Tried {
    id: Id,
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
            // Whoever resolves for the first time does so for a call.
            Phase::Idle if first_time => self.begin(pool, None),
            Phase::Idle => {}
            Phase::Ready { address, .. } if self.addresses.contains(address) => {}
            Phase::Ready { id, .. } => {
                pool.close(*id);
                self.begin(pool, None);
            }
            Phase::Connecting(pass) => {
                // Those that are in the new list keep their backoff.
                let gone =
                    pass.tried.extract_if(.., |tried| !self.addresses.contains(&tried.address));
                gone.for_each(|tried| pool.close(tried.id));
                let is_tried =
                    |address: &Address| pass.tried.iter().any(|tried| tried.address == *address);
                pass.left =
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

    fn begin(&mut self, pool: &mut impl Pool, failing: Option<Trouble>) {
        let left = self.addresses.iter().cloned().collect();
        let mut pass = Pass { left, failing, ..Pass::default() };
        pass.try_next(pool);
        self.phase = Phase::Connecting(pass);
    }

    pub(crate) fn changed(&mut self, pool: &mut impl Pool, id: Id, state: State<C>) {
        match (&mut self.phase, state) {
            (Phase::Connecting(pass), State::Ready(connection)) => {
                if let Some(ready) = pass.select(pool, id) {
                    let picker = Picker::Ready(Turns::new([connection], Arc::default()));
                    self.phase = Phase::Ready { id, address: ready.address, picker };
                }
            }
            (Phase::Connecting(pass), State::TransientFailure(trouble)) => {
                pass.failed(pool, id, trouble)
            }
            // Its backoff is over. A pass is never given up while calls may wait for it.
            (Phase::Connecting(_), State::Idle) => pool.connect(id),
            // The connection was lost. The next call makes a new one, of whatever addresses there are then.
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

    pub(crate) fn time_is_up(&mut self, pool: &mut impl Pool) {
        if let Phase::Connecting(pass) = &mut self.phase {
            pass.try_next(pool);
        }
    }

    pub(crate) fn picker(&self) -> Picker<C> {
        match &self.phase {
            Phase::Idle => Picker::Idle,
            Phase::Connecting(Pass { failing: Some(trouble), .. }) => {
                Picker::Failing(trouble.clone())
            }
            Phase::Connecting(_) => Picker::Connecting,
            Phase::Ready { picker, .. } => picker.clone(),
        }
    }
}

impl Pass {
    fn try_next(&mut self, pool: &mut impl Pool) {
        self.next_at = None;
        if let Some(address) = self.left.pop_front() {
            let id = pool.open(address.clone());
            pool.connect(id);
            self.tried.push(Tried { id, address, failed: false });
            self.next_at = (!self.left.is_empty()).then(|| Instant::now() + ATTEMPT_DELAY);
        }
    }

    fn failed(&mut self, pool: &mut impl Pool, id: Id, trouble: Trouble) {
        if let Some(tried) = self.tried.iter_mut().find(|tried| tried.id == id) {
            tried.failed = true;
        }
        if !self.left.is_empty() {
            self.try_next(pool);
        } else if self.tried.iter().all(|tried| tried.failed) {
            self.failing = Some(trouble);
            pool.resolve_again();
        }
    }

    /// The one that answered. The others are not needed any more.
    fn select(&mut self, pool: &mut impl Pool, id: Id) -> Option<Tried> {
        let (ready, others): (Vec<_>, Vec<_>) =
            take(&mut self.tried).into_iter().partition(|tried| tried.id == id);
        others.iter().for_each(|tried| pool.close(tried.id));
        ready.into_iter().next()
    }
}

/// The same addresses with the two families in turn, beginning with that of the first.
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
        super::policy::{Recorded, names, trouble},
        *,
    };

    fn policy(pool: &mut Recorded, addresses: &[&str]) -> PickFirst<&'static str> {
        let mut policy = PickFirst::new(false);
        policy.resolved(pool, names(addresses));
        policy
    }

    fn picked(policy: &PickFirst<&'static str>) -> Option<&'static str> {
        policy.picker().ready(|_| true)
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_tried_in_their_order_and_the_first_that_answers_stays() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b", "c"]);
        assert_eq!(pool.connecting, [0]);
        policy.changed(&mut pool, 0, State::TransientFailure(trouble("a")));
        assert_eq!(pool.connecting, [0, 1]);
        assert!(matches!(policy.picker(), Picker::Connecting));
        policy.changed(&mut pool, 1, State::Ready("b"));
        assert_eq!(picked(&policy), Some("b"));
        assert_eq!(pool.open.keys().collect::<Vec<_>>(), [&1], "the others are closed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_is_not_waited_for() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        assert_eq!(policy.timer(), Some(Instant::now() + ATTEMPT_DELAY));
        policy.time_is_up(&mut pool);
        assert_eq!((pool.connecting.as_slice(), policy.timer()), ([0, 1].as_slice(), None));
        policy.changed(&mut pool, 1, State::Ready("b"));
        assert_eq!(picked(&policy), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_have_failed_calls_fail_until_one_answers_after_its_backoff() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::TransientFailure(trouble("a")));
        policy.changed(&mut pool, 1, State::TransientFailure(trouble("b")));
        let Picker::Failing(why) = policy.picker() else { panic!("{policy:?}") };
        assert!(why.status().message().contains('b'), "the last failure: {why:?}");
        assert_eq!(pool.lookups, 1, "other addresses may be known by now");
        policy.changed(&mut pool, 0, State::Idle);
        policy.changed(&mut pool, 0, State::Connecting);
        assert_eq!(pool.connecting, [0, 1, 0]);
        assert!(matches!(policy.picker(), Picker::Failing(_)), "still, as gRPC has it");
        policy.changed(&mut pool, 0, State::Ready("a"));
        assert_eq!(picked(&policy), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_makes_it_idle_and_the_next_call_begins_with_the_first_address() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::TransientFailure(trouble("a")));
        policy.changed(&mut pool, 1, State::Ready("b"));
        policy.changed(&mut pool, 1, State::Idle);
        assert!(matches!(policy.picker(), Picker::Idle));
        assert!(pool.open.is_empty() && pool.lookups == 1);
        policy.exit_idle(&mut pool);
        assert_eq!(pool.open.values().cloned().collect::<Vec<_>>(), names(&["a"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_survives_new_addresses_as_long_as_its_own_is_among_them() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a"]);
        policy.changed(&mut pool, 0, State::Ready("a"));
        policy.resolved(&mut pool, names(&["b", "a"]));
        assert_eq!(picked(&policy), Some("a"));
        policy.resolved(&mut pool, names(&["b"]));
        assert_eq!(pool.open.values().cloned().collect::<Vec<_>>(), names(&["b"]));
        assert!(matches!(policy.picker(), Picker::Connecting));
    }

    #[test]
    fn the_families_alternate() {
        let addresses = ["[::1]:1", "[::1]:2", "1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3"];
        let parse = |text: &&str| Address::Tcp(text.parse().unwrap());
        let mixed = alternate(addresses.iter().map(parse).collect());
        let expected = ["[::1]:1", "1.1.1.1:1", "[::1]:2", "1.1.1.1:2", "1.1.1.1:3"];
        assert_eq!(mixed, expected.iter().map(parse).collect::<Vec<_>>());
    }

    #[test]
    fn shuffling_spreads_clients_over_the_servers() {
        let firsts: std::collections::HashSet<_> = (0..200)
            .map(|_| {
                let (mut pool, mut policy) = (Recorded::default(), PickFirst::<()>::new(true));
                policy.resolved(&mut pool, names(&["a", "b", "c"]));
                pool.open[&0].clone()
            })
            .collect();
        assert_eq!(firsts.len(), 3);
    }
}
