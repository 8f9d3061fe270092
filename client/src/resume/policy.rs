//! When a call is made again after a cut, and when no more.
//!
//! - Only an error that is [resumable](Error::is_resumable) is followed by another attempt.
//! - A call whose response has not begun fails at once, so that its caller learns right away that
//!   there is no server. A retry policy or `waitForReady` for the method says otherwise: then the
//!   caller prefers to wait.
//! - Delays grow from 0.1 s by a factor of 1.6 up to 5 s, each ± 20 %, or as the retry policy of
//!   the method configures them. If the server names a longer delay, that one is kept.
//! - Progress resets the delay. Once attempts have failed for 60 s without progress, the last error
//!   is final. Silence before the first cut does not count: it can take long to notice a dead link.

use std::time::Duration;

use quartet_channel::{
    Channel,
    backoff::Exponential,
    service_config::{CallPolicy, MethodConfig},
};
use tokio::time::Instant;

use crate::error::Error;

/// Longer than a server needs to restart, shorter than a user waits for a program that makes no
/// progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// The delays of a method without a retry policy.
fn default_backoff() -> Exponential {
    Exponential::new(Duration::from_millis(100), Duration::from_secs(5), 1.6)
}

/// The pause after a cut.
#[derive(Debug)]
pub struct Disconnected {
    /// What ended the previous attempt.
    pub cause: Error,
    /// The time until the next attempt.
    pub delay: Duration,
}

/// Decides after each cut whether another attempt is made, and after which delay.
#[derive(Debug)]
pub struct ResumePolicy {
    backoff: Exponential,
    /// Whether a call is repeated even if no response has begun: after progress, or because the
    /// service config says so.
    persistent: bool,
    /// Whether a server has begun to answer. If the connection then breaks, another attempt is
    /// worth it; if the server itself ended the stream, it is not.
    response_began: bool,
    /// The time of the first cut since the last progress.
    failing_since: Option<Instant>,
}

impl Default for ResumePolicy {
    /// The policy of a method that the service config does not name.
    fn default() -> Self {
        Self::from_config(&MethodConfig::default())
    }
}

impl ResumePolicy {
    /// The policy for a method, by its path, from the service config of the channel.
    pub fn for_method(channel: &Channel, path: &str) -> Self {
        Self::from_config(&channel.method(path))
    }

    fn from_config(config: &MethodConfig) -> Self {
        let backoff = match &config.policy {
            CallPolicy::Retry(policy) => Some(policy.backoff),
            CallPolicy::Once | CallPolicy::Hedge(_) => None,
        };
        Self {
            persistent: backoff.is_some() || config.wait_for_ready,
            backoff: backoff.unwrap_or_else(default_backoff),
            response_began: false,
            failing_since: None,
        }
    }

    /// Records that a response has begun: the channel no longer retries, so resuming takes over.
    pub fn response_began(&mut self) {
        self.response_began = true;
    }

    /// Records that something was achieved which the next attempt does not have to repeat.
    pub fn progress(&mut self) {
        self.backoff.reset();
        self.persistent = true;
        self.failing_since = None;
    }

    /// The pause before the next attempt. The caller sleeps for it, then makes the attempt.
    ///
    /// # Errors
    /// `cause` itself, if no further attempt may be made.
    pub fn pause(&mut self, cause: Error) -> Result<Disconnected, Error> {
        let failing_since = self.failing_since.get_or_insert_with(Instant::now);
        let is_patient = failing_since.elapsed() < PATIENCE;
        let ended_by_server = matches!(cause, Error::Truncated);
        let worth_another = self.persistent || (self.response_began && !ended_by_server);
        if !worth_another || !is_patient || !cause.is_resumable() {
            return Err(cause);
        }
        let delay = self.backoff.next_delay().max(cause.retry_delay().unwrap_or_default());
        Ok(Disconnected { cause, delay })
    }
}

#[cfg(test)]
mod tests {
    use quartet_channel::ServiceConfig;
    use tonic::Status;

    use super::*;

    fn within_jitter(actual: Duration, expected: Duration) -> bool {
        (expected.mul_f64(0.79)..expected.mul_f64(1.21)).contains(&actual)
    }

    fn after_progress() -> ResumePolicy {
        let mut policy = ResumePolicy::default();
        policy.progress();
        policy
    }

    fn configured(config: &str) -> ResumePolicy {
        let config: ServiceConfig = config.parse().unwrap();
        ResumePolicy::from_config(config.method("/a.B/C"))
    }

    #[tokio::test(start_paused = true)]
    async fn without_progress_nothing_is_tried_again() {
        assert!(ResumePolicy::default().pause(Error::Truncated).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_begun_response_is_resumed_unless_the_server_ended_it() {
        let mut policy = ResumePolicy::default();
        policy.response_began();
        assert!(policy.pause(Error::Truncated).is_err());
        assert!(policy.pause(Status::unavailable("draining").into()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_policy_or_wait_for_ready_resumes_before_any_response() {
        let mut waiting = configured(r#"{"methodConfig": [{"name": [{}], "waitForReady": true}]}"#);
        assert!(within_jitter(
            waiting.pause(Error::Truncated).unwrap().delay,
            Duration::from_millis(100)
        ));
        let mut retrying = configured(
            r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
            "maxAttempts": 2, "initialBackoff": "2s", "maxBackoff": "3s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#,
        );
        for expected in [2, 3, 3] {
            let delay = retrying.pause(Error::Truncated).unwrap().delay;
            assert!(within_jitter(delay, Duration::from_secs(expected)), "{delay:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_a_limit_and_progress_resets_them() {
        let mut policy = after_progress();
        for expected in [100, 160, 256] {
            let delay = policy.pause(Error::Truncated).unwrap().delay;
            assert!(within_jitter(delay, Duration::from_millis(expected)), "{delay:?}");
        }
        let longest = (0..20).map(|_| policy.pause(Error::Truncated).unwrap().delay).max();
        assert!(within_jitter(longest.unwrap(), Duration::from_secs(5)), "{longest:?}");
        policy.progress();
        assert!(within_jitter(
            policy.pause(Error::Truncated).unwrap().delay,
            Duration::from_millis(100)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_of_attempts_without_progress_is_final_and_earlier_silence_does_not_count() {
        let mut policy = after_progress();
        tokio::time::advance(PATIENCE * 10).await;
        assert!(policy.pause(Error::Truncated).is_ok());
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert!(policy.pause(Error::Truncated).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(policy.pause(Error::Truncated).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_is_not_resumable_is_final_at_once() {
        let mut policy = after_progress();
        assert!(policy.pause(Status::data_loss("").into()).is_err());
        assert!(policy.pause(Error::Protocol(String::new())).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_delay_that_the_server_names_is_kept() {
        use tonic_types::{ErrorDetails, StatusExt as _};
        let wait = Duration::from_secs(3);
        // The server is draining, or the caller has exceeded its rate limit.
        for code in [tonic::Code::Unavailable, tonic::Code::ResourceExhausted] {
            let details = ErrorDetails::with_retry_info(Some(wait));
            let status = Status::with_error_details(code, "", details);
            let paused = after_progress().pause(status.into()).unwrap();
            assert_eq!(paused.delay, wait, "{code:?}");
        }
        assert!(after_progress().pause(Status::resource_exhausted("a full disk").into()).is_err());
    }
}
