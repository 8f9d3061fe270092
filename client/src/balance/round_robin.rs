//! round_robin: connect to all, and give every call to the next that is ready.

use std::sync::{Arc, atomic::AtomicUsize};

use super::{
    picker::{Picker, Trouble, Turns},
    policy::{Id, Pool, State},
};
use crate::dial::Address;

#[derive(Debug)]
pub(crate) struct RoundRobin<C> {
    servers: Vec<Server<C>>,
    /// Goes on when the servers change, so that shares stay equal.
    turn: Arc<AtomicUsize>,
    picker: Picker<C>,
}

#[derive(Debug)]
struct Server<C> {
    id: Id,
    address: Address,
    state: State<C>,
}

impl<C> Default for RoundRobin<C> {
    fn default() -> Self {
        // Clients that start together must not all begin with the same server.
        let turn = Arc::new(AtomicUsize::new(fastrand::u32(..) as usize));
        Self { servers: Vec::new(), turn, picker: Picker::Connecting }
    }
}

impl<C: Clone> RoundRobin<C> {
    pub(crate) fn resolved(&mut self, pool: &mut impl Pool, addresses: Vec<Address>) {
        let gone = self.servers.extract_if(.., |server| !addresses.contains(&server.address));
        gone.for_each(|server| pool.close(server.id));
        for address in addresses {
            if !self.servers.iter().any(|server| server.address == address) {
                let id = pool.open(address.clone());
                pool.connect(id);
                self.servers.push(Server { id, address, state: State::Connecting });
            }
        }
        self.decide();
    }

    pub(crate) fn changed(&mut self, pool: &mut impl Pool, id: Id, state: State<C>) {
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return };
        match (&server.state, &state) {
            // It may connect again: after a loss at once, after a failure when its backoff is over.
            (State::Ready(_), State::Idle) => {
                pool.resolve_again();
                pool.connect(id);
                server.state = State::Connecting;
            }
            (_, State::Idle) => pool.connect(id),
            // One that failed counts as failed until it is ready: calls must not wait for it.
            (State::TransientFailure(_), State::Connecting) => {}
            (_, State::TransientFailure(_)) => {
                pool.resolve_again();
                server.state = state;
            }
            _ => server.state = state,
        }
        self.decide();
    }

    pub(crate) fn is_settled(&self) -> bool {
        !self.servers.iter().any(|server| matches!(server.state, State::Connecting))
    }

    pub(crate) fn picker(&self) -> Picker<C> {
        self.picker.clone()
    }

    fn decide(&mut self) {
        let ready = |server: &Server<C>| match &server.state {
            State::Ready(connection) => Some(connection.clone()),
            _ => None,
        };
        let ready: Vec<C> = self.servers.iter().filter_map(ready).collect();
        self.picker = match self.trouble() {
            _ if !ready.is_empty() => Picker::Ready(Turns::new(ready, self.turn.clone())),
            Some(trouble) => Picker::Failing(trouble),
            None => Picker::Connecting,
        };
    }

    /// What is wrong, if nothing is right anywhere.
    fn trouble(&self) -> Option<Trouble> {
        let trouble = |server: &Server<C>| match &server.state {
            State::TransientFailure(trouble) => Some(trouble.clone()),
            _ => None,
        };
        let all: Option<Vec<_>> = self.servers.iter().map(trouble).collect();
        all?.pop()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::policy::{Recorded, names, trouble},
        *,
    };

    fn policy(pool: &mut Recorded, addresses: &[&str]) -> RoundRobin<u64> {
        let mut policy = RoundRobin::default();
        policy.resolved(pool, names(addresses));
        policy
    }

    fn picks(policy: &RoundRobin<u64>, count: usize) -> Vec<u64> {
        let mut picks: Vec<_> =
            (0..count).filter_map(|_| policy.picker().ready(|_| true)).collect();
        picks.sort_unstable();
        picks
    }

    #[test]
    fn all_servers_are_connected_and_those_that_are_ready_take_turns() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b", "c"]);
        assert_eq!(pool.connecting, [0, 1, 2]);
        assert!(matches!(policy.picker(), Picker::Connecting));
        policy.changed(&mut pool, 0, State::Ready(0));
        assert_eq!(picks(&policy, 2), [0, 0], "nobody waits for the others");
        policy.changed(&mut pool, 2, State::Ready(2));
        assert_eq!(picks(&policy, 4), [0, 0, 2, 2]);
    }

    #[test]
    fn one_that_is_lost_takes_no_call_and_is_connected_again_at_once() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::Ready(0));
        policy.changed(&mut pool, 1, State::Ready(1));
        policy.changed(&mut pool, 0, State::Idle);
        assert_eq!(picks(&policy, 3), [1, 1, 1]);
        assert_eq!((pool.connecting.as_slice(), pool.lookups), ([0, 1, 0].as_slice(), 1));
    }

    #[test]
    fn calls_fail_only_when_all_have_failed_and_wait_for_none_that_tries_again() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::TransientFailure(trouble("a")));
        assert!(matches!(policy.picker(), Picker::Connecting), "b may answer");
        policy.changed(&mut pool, 1, State::TransientFailure(trouble("b")));
        assert!(matches!(policy.picker(), Picker::Failing(_)));
        policy.changed(&mut pool, 1, State::Idle);
        policy.changed(&mut pool, 1, State::Connecting);
        assert!(matches!(policy.picker(), Picker::Failing(_)));
        policy.changed(&mut pool, 1, State::Ready(1));
        assert_eq!(picks(&policy, 1), [1]);
    }

    #[test]
    fn new_addresses_replace_what_they_must_and_nothing_else() {
        let mut pool = Recorded::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::Ready(0));
        policy.changed(&mut pool, 1, State::Ready(1));
        policy.resolved(&mut pool, names(&["c", "b"]));
        assert_eq!(picks(&policy, 2), [1, 1]);
        assert_eq!(pool.open.values().cloned().collect::<Vec<_>>(), names(&["b", "c"]));
    }

    proptest! {
        /// Whatever happens in whatever order: calls go to those that are ready and to no others, and only a full house of
        /// failures makes them fail.
        #[test]
        fn exactly_the_ready_ones_take_calls(events in prop::collection::vec((0_u64..4, 0_u8..4), 0..60)) {
            let mut pool = Recorded::default();
            let mut policy = policy(&mut pool, &["a", "b", "c", "d"]);
            let (mut ready, mut failed) = ([false; 4], [false; 4]);
            for (id, event) in events {
                let state = match event {
                    0 => State::Idle,
                    1 => State::Connecting,
                    2 => State::Ready(id),
                    _ => State::TransientFailure(trouble("x")),
                };
                policy.changed(&mut pool, id, state);
                let index = id as usize;
                ready[index] = event == 2;
                failed[index] = event == 3 || (failed[index] && event < 2);
                let expected: Vec<u64> = (0..4).filter(|&id| ready[id as usize]).collect();
                match policy.picker() {
                    Picker::Ready(_) => prop_assert_eq!(picks(&policy, expected.len()), expected),
                    Picker::Failing(_) => prop_assert_eq!(failed, [true; 4]),
                    _ => prop_assert!(expected.is_empty() && failed != [true; 4]),
                }
            }
        }
    }
}
