//! The decision of a policy, in the form that calls read.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tonic::Status;

use crate::{cause::Cause, transport::ConnectError};

/// The state of a channel, and what a call does in it.
#[derive(Debug, Clone)]
pub(crate) enum Picker<C> {
    /// No connection is wanted yet: request one, and wait.
    Idle,
    /// Wait for a connection.
    Connecting,
    /// Use one of these connections.
    Ready(Rotation<C>),
    /// Fail, unless the call is wait-for-ready.
    Failing(Unreachable),
}

impl<C: Clone> Picker<C> {
    /// The next connection for which `is_open` holds, if the channel is ready.
    pub(crate) fn ready(&self, is_open: impl Fn(&C) -> bool) -> Option<C> {
        let Self::Ready(rotation) = self else { return None };
        rotation.next(is_open)
    }
}

/// Connections that take calls in turn. Clones share the position.
#[derive(Debug, Clone)]
pub(crate) struct Rotation<C> {
    connections: Arc<[C]>,
    position: Arc<AtomicUsize>,
}

impl<C: Clone> Rotation<C> {
    pub(crate) fn new(connections: impl Into<Arc<[C]>>, position: Arc<AtomicUsize>) -> Self {
        Self { connections: connections.into(), position }
    }

    pub(crate) fn next(&self, is_open: impl Fn(&C) -> bool) -> Option<C> {
        let first = match self.connections.len() {
            0 => return None,
            1 => 0,
            _ => self.position.fetch_add(1, Ordering::Relaxed),
        };
        let length = self.connections.len();
        let inspect = |step| &self.connections[first.wrapping_add(step) % length];
        (0..length).map(inspect).find(|connection| is_open(connection)).cloned()
    }
}

/// Why no server is available.
#[derive(Clone)]
pub(crate) enum Unreachable {
    /// The last attempt to connect failed.
    Connect(Arc<ConnectError>),
    /// There is no address, or the server is not healthy.
    Other(String),
}

impl Unreachable {
    /// UNAVAILABLE with the reason.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Connect(error) => Cause::Connect(error.clone()).into(),
            Self::Other(problem) => Cause::Unreachable(problem.clone()).into(),
        }
    }
}

/// The reason without the address.
impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.source.fmt(f),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl fmt::Debug for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status().message())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_differ_by_at_most_one(
            servers in 1_usize..9,
            calls in 0_usize..500,
            first in any::<usize>(),
        ) {
            let position = Arc::new(AtomicUsize::new(first));
            let rotation = Rotation::new((0..servers).collect::<Vec<_>>(), position);
            // Where the counter overflows, once in 2^64 calls, a round may be cut short.
            prop_assume!(first.checked_add(calls).is_some());
            let mut counts: HashMap<_, _> = (0..servers).map(|server| (server, 0)).collect();
            for _ in 0..calls {
                *counts.get_mut(&rotation.next(|_| true).unwrap()).unwrap() += 1;
            }
            let (most, least) = (counts.values().max().unwrap(), counts.values().min().unwrap());
            prop_assert!(most - least <= 1, "{counts:?}");
        }

        #[test]
        fn closed_connections_are_skipped(
            open in prop::collection::vec(any::<bool>(), 0..6),
            first in 0_usize..9,
        ) {
            let indices: Vec<_> = (0..open.len()).collect();
            let rotation = Rotation::new(indices, Arc::new(AtomicUsize::new(first)));
            match rotation.next(|&index| open[index]) {
                Some(index) => prop_assert!(open[index]),
                None => prop_assert!(!open.contains(&true)),
            }
        }
    }
}
