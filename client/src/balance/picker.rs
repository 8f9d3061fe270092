//! What a policy decided, in the form that calls read.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tonic::Status;

use crate::transport::ConnectError;

/// The state of a channel, with what a call does in it.
#[derive(Debug, Clone)]
pub(crate) enum Picker<C> {
    /// Nothing was asked for yet: say that a connection is wanted, and wait.
    Idle,
    /// Wait.
    Connecting,
    /// Take one of these.
    Ready(Turns<C>),
    /// Fail, unless the call waits for better times.
    Failing(Trouble),
}

impl<C: Clone> Picker<C> {
    /// A connection, if there is one that is as it should be.
    pub(crate) fn ready(&self, is_open: impl Fn(&C) -> bool) -> Option<C> {
        let Self::Ready(turns) = self else { return None };
        turns.next(is_open)
    }
}

/// Connections that take calls in turn. Clones share whose turn it is.
#[derive(Debug, Clone)]
pub(crate) struct Turns<C> {
    connections: Arc<[C]>,
    turn: Arc<AtomicUsize>,
}

impl<C: Clone> Turns<C> {
    pub(crate) fn new(connections: impl Into<Arc<[C]>>, turn: Arc<AtomicUsize>) -> Self {
        Self { connections: connections.into(), turn }
    }

    pub(crate) fn next(&self, is_open: impl Fn(&C) -> bool) -> Option<C> {
        let first = match self.connections.len() {
            0 => return None,
            1 => 0,
            _ => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let length = self.connections.len();
        let inspect = |step| &self.connections[first.wrapping_add(step) % length];
        (0..length).map(inspect).find(|connection| is_open(connection)).cloned()
    }
}

/// Why no server can be reached.
#[derive(Clone)]
pub(crate) enum Trouble {
    /// The last attempt to connect failed like this.
    Connect(Arc<ConnectError>),
    /// There is no address to connect to, or the server says that it is not healthy.
    Other(String),
}

impl Trouble {
    /// UNAVAILABLE, with the reason.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Connect(error) => {
                let mut status = Status::unavailable(format!("{error}: {}", error.source));
                status.set_source(error.clone());
                status
            }
            Self::Other(problem) => Status::unavailable(problem),
        }
    }
}

/// The reason alone, without where.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.source.fmt(f),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl fmt::Debug for Trouble {
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
        fn shares_differ_by_one_at_most(servers in 1_usize..9, calls in 0_usize..500, first in any::<usize>()) {
            let turns = Turns::new((0..servers).collect::<Vec<_>>(), Arc::new(AtomicUsize::new(first)));
            // At the end of the numbers a round may break off, once in 2^64 calls.
            prop_assume!(first.checked_add(calls).is_some());
            let mut counts: HashMap<usize, usize> = (0..servers).map(|server| (server, 0)).collect();
            for _ in 0..calls {
                *counts.get_mut(&turns.next(|_| true).unwrap()).unwrap() += 1;
            }
            let (most, least) = (counts.values().max().unwrap(), counts.values().min().unwrap());
            prop_assert!(most - least <= 1, "{counts:?}");
        }

        #[test]
        fn one_that_is_closed_is_passed_over(open in prop::collection::vec(any::<bool>(), 0..6), first in 0_usize..9) {
            let indices: Vec<_> = (0..open.len()).collect();
            let turns = Turns::new(indices, Arc::new(AtomicUsize::new(first)));
            match turns.next(|&index| open[index]) {
                Some(index) => prop_assert!(open[index]),
                None => prop_assert!(!open.contains(&true)),
            }
        }
    }
}
