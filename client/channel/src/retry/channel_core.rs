//! What all calls of a channel share.

use std::{collections::HashSet, sync::Arc};

use super::throttle::Throttle;
use crate::{balance::Balancer, service_config::ServiceConfig};

/// What all calls of a channel share.
#[derive(Debug)]
pub(crate) struct ChannelCore {
    pub(crate) balancer: Balancer,
    pub(crate) config: ServiceConfig,
    /// Bytes of each request that are kept for another attempt.
    pub(super) buffer_bytes: usize,
    /// The paths of methods that answer with one message.
    pub(super) single_responses: HashSet<String>,
    /// The paths of methods that may run twice without harm.
    pub(super) idempotent: HashSet<String>,
    pub(super) throttle: Option<Arc<Throttle>>,
}

impl ChannelCore {
    pub(crate) fn new(
        balancer: Balancer,
        config: ServiceConfig,
        buffer_bytes: usize,
        single_responses: HashSet<String>,
        idempotent: HashSet<String>,
    ) -> Self {
        let throttle = config.retry_throttling.map(|config| Arc::new(Throttle::new(config)));
        Self { balancer, config, buffer_bytes, single_responses, idempotent, throttle }
    }

    /// Records a failure that another attempt might repair. Returns whether one is allowed.
    pub(super) fn record_failure(&self) -> bool {
        self.throttle.as_ref().is_none_or(|throttle| throttle.failure())
    }

    /// Whether attempts beyond the first are allowed now.
    pub(super) fn allows_retries(&self) -> bool {
        self.throttle.as_ref().is_none_or(|throttle| throttle.allows())
    }
}
