//! One attempt after another, until one succeeds or none may follow.

use std::time::Duration;

use http::Response;
use tokio::time::sleep;
use tonic::{Status, body::Body};

use super::{
    call::{FailedAttempt, OutgoingCall, Pushback},
    channel_core::ChannelCore,
};
use crate::{backoff::Exponential, explain::EXPLAIN, service_config::RetryPolicy};

/// Makes a call. Without a policy, only transparent retries follow the first attempt.
pub(super) async fn run(
    call: &OutgoingCall,
    policy: Option<&RetryPolicy>,
) -> Result<Response<Body>, Status> {
    let mut retries = policy.map(Retries::new);
    let mut refused = false;
    let mut previous = 0;
    loop {
        let failed = match call.attempt(call.body.attempt(), previous).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        if let Some(status) = call.body.failed() {
            return Err(status);
        }
        if call.body.is_committed() {
            return *failed.result;
        }
        if failed.may_be_repeated(&mut refused) {
            tracing::debug!(target: EXPLAIN, "no server has seen it: again, at once");
            continue;
        }
        let delay = retries.as_mut().and_then(|retries| retries.next_delay(&failed, &call.core));
        let Some(delay) = delay else { return *failed.result };
        previous += 1;
        tracing::debug!(target: EXPLAIN, "the next attempt in {delay:.0?}");
        call.before_deadline(sleep(delay)).await?;
    }
}

/// What is left of a retry policy in a call.
struct Retries<'a> {
    policy: &'a RetryPolicy,
    backoff: Exponential,
    attempts_left: u32,
}

impl<'a> Retries<'a> {
    fn new(policy: &'a RetryPolicy) -> Self {
        Self { policy, backoff: policy.backoff, attempts_left: policy.max_attempts - 1 }
    }

    /// The delay before the next attempt, if one may follow. The order of the conditions is
    /// grpc-go's: it decides which failures the throttle counts.
    fn next_delay(&mut self, failed: &FailedAttempt, core: &ChannelCore) -> Option<Duration> {
        let requested = match failed.pushback {
            Some(Pushback::Never) => {
                core.record_failure();
                return None;
            }
            Some(Pushback::After(delay)) => Some(delay),
            None => None,
        };
        if !self.policy.retryable_status_codes.contains(&failed.code) || !core.record_failure() {
            return None;
        }
        self.attempts_left = self.attempts_left.checked_sub(1)?;
        if requested.is_some() {
            self.backoff.reset();
        }
        Some(requested.unwrap_or_else(|| self.backoff.next_delay()))
    }
}
