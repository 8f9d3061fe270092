//! gRPC load balancing: which connection a call uses.
//!
//! ```text
//! resolve.rs ── addresses ──> policy (pick_first.rs, round_robin.rs) ── picker ──> calls
//!                               │  ▲
//!                 open, connect │  │ states (pool.rs)
//!                               ▼  │
//!                          subchannel.rs, one per address: dial, handshake, [health.rs], backoff
//! ```
//!
//! One task, in `balancer.rs`, owns the policy and the subchannels. It publishes a
//! [`Picker`](picker::Picker), which calls read without a message to the task. The states are those
//! of gRPC's [connectivity
//! semantics](https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md).
//!
//! Nothing connects before the first call. When the last [`Balancer`] is dropped, the task and its
//! subchannels end; open streams go on until they end themselves.

mod balancer;
mod connection;
mod health;
mod pick_first;
mod picker;
mod policy;
mod pool;
#[cfg(test)]
mod recorded_pool;
mod round_robin;
mod subchannel;

pub(crate) use balancer::Balancer;
pub(crate) use connection::SendError;
pub(crate) use subchannel::SubchannelConfig;
