//! round_robin: connect to all addresses, and send each call to the next server that is ready.

use std::sync::{Arc, atomic::AtomicUsize};

use super::{
    picker::{Picker, Rotation, Unreachable},
    pool::{Pool, State, SubchannelId},
};
use crate::address::Address;

#[derive(Debug)]
pub(crate) struct RoundRobin<C> {
    servers: Vec<Server<C>>,
    /// Kept when the servers change, so that shares stay equal.
    position: Arc<AtomicUsize>,
    picker: Picker<C>,
}

#[derive(Debug)]
struct Server<C> {
    id: SubchannelId,
    address: Address,
    state: State<C>,
}

impl<C> Default for RoundRobin<C> {
    fn default() -> Self {
        // Random, so that clients that start together do not all begin with the same server.
        let position = Arc::new(AtomicUsize::new(fastrand::u32(..) as usize));
        Self { servers: Vec::new(), position, picker: Picker::Connecting }
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

    pub(crate) fn changed(&mut self, pool: &mut impl Pool, id: SubchannelId, state: State<C>) {
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return };
        match (&server.state, &state) {
            // Reconnect: at once after a loss; after a failure, the backoff is over now.
            (State::Ready(_), State::Idle) => {
                pool.resolve_again();
                pool.connect(id);
                server.state = State::Connecting;
            }
            (_, State::Idle) => pool.connect(id),
            // A server that failed counts as failed until it is ready: calls must not wait for it.
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
        self.picker = match self.failure() {
            _ if !ready.is_empty() => Picker::Ready(Rotation::new(ready, self.position.clone())),
            Some(reason) => Picker::Failing(reason),
            None => Picker::Connecting,
        };
    }

    /// The reason of one failure, if all servers have failed.
    fn failure(&self) -> Option<Unreachable> {
        let failure = |server: &Server<C>| match &server.state {
            State::TransientFailure(reason) => Some(reason.clone()),
            _ => None,
        };
        let all: Option<Vec<_>> = self.servers.iter().map(failure).collect();
        all?.pop()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::recorded_pool::{RecordedPool, names, unreachable},
        *,
    };

    fn policy(pool: &mut RecordedPool, addresses: &[&str]) -> RoundRobin<u64> {
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
    fn all_servers_are_connected_and_ready_ones_take_turns() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b", "c"]);
        assert_eq!(pool.connecting, [0, 1, 2]);
        assert!(matches!(policy.picker(), Picker::Connecting));
        policy.changed(&mut pool, 0, State::Ready(0));
        assert_eq!(picks(&policy, 2), [0, 0], "calls do not wait for the others");
        policy.changed(&mut pool, 2, State::Ready(2));
        assert_eq!(picks(&policy, 4), [0, 0, 2, 2]);
    }

    #[test]
    fn a_lost_server_gets_no_calls_and_is_reconnected_at_once() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::Ready(0));
        policy.changed(&mut pool, 1, State::Ready(1));
        policy.changed(&mut pool, 0, State::Idle);
        assert_eq!(picks(&policy, 3), [1, 1, 1]);
        assert_eq!((pool.connecting.as_slice(), pool.lookups), ([0, 1, 0].as_slice(), 1));
    }

    #[test]
    fn calls_fail_only_when_all_servers_have_failed_and_do_not_wait_for_a_new_attempt() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::TransientFailure(unreachable("a")));
        assert!(matches!(policy.picker(), Picker::Connecting), "b may answer");
        policy.changed(&mut pool, 1, State::TransientFailure(unreachable("b")));
        assert!(matches!(policy.picker(), Picker::Failing(_)));
        policy.changed(&mut pool, 1, State::Idle);
        policy.changed(&mut pool, 1, State::Connecting);
        assert!(matches!(policy.picker(), Picker::Failing(_)));
        policy.changed(&mut pool, 1, State::Ready(1));
        assert_eq!(picks(&policy, 1), [1]);
    }

    #[test]
    fn new_addresses_close_only_the_servers_that_are_gone() {
        let mut pool = RecordedPool::default();
        let mut policy = policy(&mut pool, &["a", "b"]);
        policy.changed(&mut pool, 0, State::Ready(0));
        policy.changed(&mut pool, 1, State::Ready(1));
        policy.resolved(&mut pool, names(&["c", "b"]));
        assert_eq!(picks(&policy, 2), [1, 1]);
        assert_eq!(pool.open.values().cloned().collect::<Vec<_>>(), names(&["b", "c"]));
    }

    proptest! {
        /// In any order of events, calls go to the ready servers only, and fail only when all
        /// servers have failed.
        #[test]
        fn exactly_the_ready_servers_get_calls(
            events in prop::collection::vec((0_u64..4, 0_u8..4), 0..60),
        ) {
            let mut pool = RecordedPool::default();
            let mut policy = policy(&mut pool, &["a", "b", "c", "d"]);
            let (mut ready, mut failed) = ([false; 4], [false; 4]);
            for (id, event) in events {
                let state = match event {
                    0 => State::Idle,
                    1 => State::Connecting,
                    2 => State::Ready(id),
                    _ => State::TransientFailure(unreachable("x")),
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
