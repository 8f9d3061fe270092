//! gRPC's [service config](https://github.com/grpc/grpc/blob/master/doc/service_config.md): how calls are balanced, retried,
//! hedged and limited, method by method.
//!
//! Read as grpc-go reads it. Keys are compared without regard to case and `.01s` is a duration. What is not known is ignored,
//! and [listed](ServiceConfig::ignored). What is known and wrong refuses the whole config, with the path of the fault.
//! Decoding is in `decode.rs`; this is what comes of it.

use std::{collections::HashMap, collections::HashSet, sync::Arc, time::Duration};

use tonic::Code;

use crate::backoff::Exponential;

mod decode;

pub use decode::InvalidConfig;

/// What a channel does with its calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceConfig {
    /// How calls are spread over the servers.
    pub balancing: Balancing,
    /// When a channel stops to retry, because too much fails.
    pub retry_throttling: Option<RetryThrottling>,
    /// The service whose health decides whether a server takes calls (round_robin only, as in grpc-go).
    pub health_check: Option<String>,
    /// By `service/method`, `service/` and the empty name.
    methods: HashMap<String, Arc<MethodConfig>>,
    usual: Arc<MethodConfig>,
    /// Keys that nothing was done with, with their paths.
    pub ignored: Vec<String>,
}

impl ServiceConfig {
    /// What holds for a method, by the path of its calls: `/package.Service/Method`. The most exact name counts alone, and nothing
    /// is merged.
    pub fn method(&self, path: &str) -> &Arc<MethodConfig> {
        if self.methods.is_empty() {
            return &self.usual;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let service = path.rfind('/').map_or(path, |slash| &path[..=slash]);
        [path, service, ""]
            .into_iter()
            .find_map(|name| self.methods.get(name))
            .unwrap_or(&self.usual)
    }
}

/// A load balancing policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balancing {
    /// One server for all calls: the first that answers.
    PickFirst {
        /// Try the addresses in an order of chance instead of theirs.
        shuffle: bool,
    },
    /// Every server in turn.
    RoundRobin,
}

impl Default for Balancing {
    fn default() -> Self {
        Self::PickFirst { shuffle: false }
    }
}

/// What holds for the calls of a method.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MethodConfig {
    /// Wait for a server instead of failing when there is none.
    pub wait_for_ready: bool,
    /// The longest that a call may take; its own deadline counts too.
    pub timeout: Option<Duration>,
    /// The largest message that is sent.
    pub max_request_message_bytes: Option<u64>,
    /// The largest message that is taken.
    pub max_response_message_bytes: Option<u64>,
    /// What becomes of a call that failed, or is slow.
    pub policy: Policy,
}

/// Several attempts for one call, or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Policy {
    /// One attempt. A call that surely no server has looked at is made again all the same.
    #[default]
    Once,
    /// One after another.
    Retry(RetryPolicy),
    /// Beside each other.
    Hedge(HedgingPolicy),
}

/// When a failed call is made again ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// With the first: 2 to 5.
    pub max_attempts: u32,
    /// The delays between them.
    pub backoff: Exponential,
    /// The codes after which it is worth it.
    pub retryable_status_codes: HashSet<Code>,
}

/// When a call is made again although the first may still succeed.
#[derive(Debug, Clone, PartialEq)]
pub struct HedgingPolicy {
    /// With the first: 2 to 5.
    pub max_attempts: u32,
    /// How long each attempt has the field to itself.
    pub hedging_delay: Duration,
    /// The codes that say nothing about the other attempts.
    pub non_fatal_status_codes: HashSet<Code>,
}

/// A bucket of tokens: a failure takes one, a success gives back `token_ratio`, and while it is no more than half full nothing is
/// retried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryThrottling {
    /// What it holds.
    pub max_tokens: f64,
    /// What a success gives back.
    pub token_ratio: f64,
}
