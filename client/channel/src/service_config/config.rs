//! The types of a service config.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tonic::Code;

use crate::backoff::Exponential;

/// How a channel balances, retries, hedges and limits its calls. The default is pick_first and one
/// attempt for each call, without a timeout.
///
/// Parse one from gRPC's JSON with [`str::parse`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceConfig {
    /// The load balancing policy.
    pub balancing: Balancing,
    /// When the channel stops retrying, because too many calls fail.
    pub retry_throttling: Option<RetryThrottling>,
    /// The service whose health each server is asked for ([gRFC
    /// A17](https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md)); a
    /// server that is not serving gets no calls. `None`, the default, asks for none. Only
    /// round_robin checks health, as in grpc-go.
    pub health_check: Option<String>,
    /// By `service/method`, by `service/`, and under the empty name for all others.
    pub(super) methods: HashMap<String, Arc<MethodConfig>>,
    pub(super) default_method: Arc<MethodConfig>,
    /// The paths of unknown keys, which have no effect.
    pub ignored: Vec<String>,
}

impl ServiceConfig {
    /// The config of a method, by the path of its calls: `/package.Service/Method`. The most
    /// specific name that matches applies alone; configs are not merged.
    pub fn method(&self, path: &str) -> &Arc<MethodConfig> {
        if self.methods.is_empty() {
            return &self.default_method;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let service = path.rfind('/').map_or(path, |slash| &path[..=slash]);
        [path, service, ""]
            .into_iter()
            .find_map(|name| self.methods.get(name))
            .unwrap_or(&self.default_method)
    }
}

/// A load balancing policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balancing {
    /// All calls go to the first address that accepts a connection.
    PickFirst {
        /// Try the addresses in random order instead of theirs.
        shuffle: bool,
    },
    /// Calls go to all connected servers in turn.
    RoundRobin,
}

impl Default for Balancing {
    fn default() -> Self {
        Self::PickFirst { shuffle: false }
    }
}

/// The config of the calls of a method.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MethodConfig {
    /// Wait for a server instead of failing when there is none.
    pub wait_for_ready: bool,
    /// The longest that a call may take. If the call has a deadline too, the earlier one applies.
    pub timeout: Option<Duration>,
    /// The largest request message, in bytes. A larger one fails with RESOURCE_EXHAUSTED.
    pub max_request_message_bytes: Option<u64>,
    /// The largest response message, in bytes. A larger one fails with RESOURCE_EXHAUSTED.
    pub max_response_message_bytes: Option<u64>,
    /// Whether a call that failed, or is slow, is attempted again.
    pub policy: CallPolicy,
}

/// How many attempts a call may make, and when.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum CallPolicy {
    /// One attempt. A request that certainly reached no server application is nevertheless sent
    /// again (gRFC A6 calls it a transparent retry).
    #[default]
    Once,
    /// One attempt after another.
    Retry(RetryPolicy),
    /// Attempts at the same time.
    Hedge(HedgingPolicy),
}

/// When a failed call is retried ([gRFC
/// A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts including the first: 2 to 5.
    pub max_attempts: u32,
    /// The delays between attempts.
    pub backoff: Exponential,
    /// The codes after which another attempt is made.
    pub retryable_status_codes: HashSet<Code>,
}

/// When a call is attempted again while earlier attempts may still succeed. Only for methods that
/// may safely be executed more than once.
#[derive(Debug, Clone, PartialEq)]
pub struct HedgingPolicy {
    /// Attempts including the first: 2 to 5.
    pub max_attempts: u32,
    /// The delay before each further attempt.
    pub hedging_delay: Duration,
    /// The codes after which other attempts go on. Any other code ends the call.
    pub non_fatal_status_codes: HashSet<Code>,
}

/// A token bucket that limits retries: a failure takes one token, a success returns `token_ratio`
/// tokens, and while the bucket is at most half full nothing is retried or hedged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryThrottling {
    /// Capacity of the bucket.
    pub max_tokens: f64,
    /// Tokens that a success returns.
    pub token_ratio: f64,
}
