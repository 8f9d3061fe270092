//! Subchannels as the balancing policies see them: their states, and the requests that a policy
//! makes. The policies are state machines without network or clock, so tests drive them with
//! made-up states.

use std::fmt;

use super::picker::Unreachable;
use crate::address::Address;

/// Identifies a subchannel within its pool.
pub(crate) type SubchannelId = u64;

/// The state of a subchannel. There is no SHUTDOWN: a closed subchannel is gone.
#[derive(Debug, Clone)]
pub(crate) enum State<C> {
    /// No connection and no attempt: at the start, after a loss, and after a backoff.
    Idle,
    /// An attempt to connect is under way.
    Connecting,
    /// A connection that accepts calls.
    Ready(C),
    /// The attempt failed; the backoff before the next one runs.
    TransientFailure(Unreachable),
}

impl<C> fmt::Display for State<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("IDLE"),
            Self::Connecting => f.write_str("CONNECTING"),
            Self::Ready(_) => f.write_str("READY"),
            Self::TransientFailure(reason) => write!(f, "TRANSIENT_FAILURE, {reason}"),
        }
    }
}

/// The subchannels of a channel, as a policy controls them.
pub(crate) trait Pool {
    /// Opens a subchannel, which starts IDLE.
    fn open(&mut self, address: Address) -> SubchannelId;
    /// Makes an IDLE subchannel connect.
    fn connect(&mut self, id: SubchannelId);
    /// Closes a subchannel. Later events of it are ignored.
    fn close(&mut self, id: SubchannelId);
    /// Requests another address resolution.
    fn resolve_again(&mut self);
}
