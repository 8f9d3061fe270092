//! Going on after a cut: when, and when no more. The one rule that all streams of this library share.
//!
//! A stream whose first message has come cannot be retried by the channel, which does not know how far it got. Its reader does:
//! it keeps a position, or what has no answer yet, and makes a new call from there. This is what is common to all of them.
//!
//! - Only what is [resumable](Error::is_resumable) is tried again.
//! - A call whose response has not begun yet fails at once: its caller learns right away that no server is there. With a retry policy
//!   or `waitForReady` for its method it does not: then the caller has said that it would rather wait.
//! - Delays grow from 0.1 s by 1.6 up to 5 s, each ± 20 %, or as the retry policy of the method says. A server that names a longer
//!   delay is obeyed.
//! - Progress resets the delay. When a call has tried again for 60 s without any, the last error is final. How long it was
//!   silent before the cut does not count: a dead link may take its time to be noticed.

use std::{mem::take, time::Duration};

use tokio::time::Instant;

use crate::{
    Channel, Error,
    backoff::Exponential,
    service_config::{MethodConfig, Policy},
};

/// Longer than a server needs to restart, shorter than a user waits for a program that says nothing new.
const PATIENCE: Duration = Duration::from_secs(60);

/// The delays of a method without retry policy.
fn usual() -> Exponential {
    Exponential::new(Duration::from_millis(100), Duration::from_secs(5), 1.6)
}

/// A cut that is waited out: tell the user, then sleep for `delay`.
#[derive(Debug)]
pub struct Disconnected {
    /// What ended the previous attempt.
    pub cause: Error,
    /// The time until the next one.
    pub delay: Duration,
}

/// How a stream goes on.
#[derive(Debug)]
pub struct Resume {
    backoff: Exponential,
    /// Whether it may be tried again: there was progress, or the config says so.
    persistent: bool,
    /// A server has begun to answer. What it did not finish is worth another attempt, if it is not its own doing.
    begun: bool,
    /// The first cut since the last progress.
    failing_since: Option<Instant>,
    /// It is being tried again, and nothing has come yet.
    resuming: bool,
}

impl Default for Resume {
    fn default() -> Self {
        Self::by(&MethodConfig::default())
    }
}

impl Resume {
    /// As the service config of the channel has it for a method, by its path.
    pub fn of(channel: &Channel, path: &str) -> Self {
        Self::by(&channel.method(path))
    }

    fn by(config: &MethodConfig) -> Self {
        let policy = match &config.policy {
            Policy::Retry(policy) => Some(policy.backoff),
            Policy::Once | Policy::Hedge(_) => None,
        };
        Self {
            backoff: policy.unwrap_or_else(usual),
            persistent: policy.is_some() || config.wait_for_ready,
            begun: false,
            failing_since: None,
            resuming: false,
        }
    }

    /// A response has begun. Where the channel stops to retry, resuming begins.
    pub fn begin(&mut self) {
        self.begun = true;
    }

    /// Something was achieved that the next attempt need not repeat.
    pub fn progress(&mut self) {
        self.backoff.reset();
        self.persistent = true;
        self.failing_since = None;
    }

    /// Whether the call has just been resumed, which its user is told once.
    pub fn is_resumed(&mut self) -> bool {
        take(&mut self.resuming)
    }

    /// The pause before the next attempt, which the caller makes after it.
    ///
    /// # Errors
    /// `cause` itself, if there shall be no next attempt.
    pub fn pause(&mut self, cause: Error) -> Result<Disconnected, Error> {
        let patient = self.failing_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE;
        let worth_it = self.persistent || (self.begun && !matches!(cause, Error::Truncated));
        if !worth_it || !patient || !cause.is_resumable() {
            return Err(cause);
        }
        self.resuming = true;
        let delay = self.backoff.next_delay().max(cause.retry_delay().unwrap_or_default());
        Ok(Disconnected { cause, delay })
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn within_jitter(actual: Duration, expected: Duration) -> bool {
        (expected.mul_f64(0.79)..expected.mul_f64(1.21)).contains(&actual)
    }

    fn after_progress() -> Resume {
        let mut resume = Resume::default();
        resume.progress();
        resume
    }

    fn configured(config: &str) -> Resume {
        let config: crate::ServiceConfig = config.parse().unwrap();
        Resume::by(config.method("/a.B/C"))
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_tried_again_before_the_first_progress() {
        assert!(Resume::default().pause(Error::Truncated).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_has_begun_is_resumed_unless_the_server_ended_it() {
        let mut resume = Resume::default();
        resume.begin();
        assert!(resume.pause(Error::Truncated).is_err());
        assert!(resume.pause(Status::unavailable("draining").into()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn unless_the_service_config_says_so() {
        let mut waiting = configured(r#"{"methodConfig": [{"name": [{}], "waitForReady": true}]}"#);
        assert!(within_jitter(
            waiting.pause(Error::Truncated).unwrap().delay,
            Duration::from_millis(100)
        ));
        let mut retrying = configured(
            r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "2s", "maxBackoff": "3s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#,
        );
        for expected in [2, 3, 3] {
            let delay = retrying.pause(Error::Truncated).unwrap().delay;
            assert!(within_jitter(delay, Duration::from_secs(expected)), "{delay:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_a_limit_and_progress_resets_them() {
        let mut resume = after_progress();
        for expected in [100, 160, 256] {
            let delay = resume.pause(Error::Truncated).unwrap().delay;
            assert!(within_jitter(delay, Duration::from_millis(expected)), "{delay:?}");
        }
        let longest = (0..20).map(|_| resume.pause(Error::Truncated).unwrap().delay).max();
        assert!(within_jitter(longest.unwrap(), Duration::from_secs(5)), "{longest:?}");
        resume.progress();
        assert!(within_jitter(
            resume.pause(Error::Truncated).unwrap().delay,
            Duration::from_millis(100)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_of_tries_without_progress_is_the_end_however_long_it_was_silent_before() {
        let mut resume = after_progress();
        tokio::time::advance(PATIENCE * 10).await;
        assert!(resume.pause(Error::Truncated).is_ok());
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert!(resume.pause(Error::Truncated).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(resume.pause(Error::Truncated).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_resumed_is_final_at_once() {
        let mut resume = after_progress();
        assert!(resume.pause(Status::data_loss("").into()).is_err());
        assert!(resume.pause(Error::Protocol(String::new())).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_that_the_server_names_is_kept() {
        use tonic_types::{ErrorDetails, StatusExt as _};
        let wait = Duration::from_secs(3);
        // It stops, or its user has made too many calls.
        for code in [tonic::Code::Unavailable, tonic::Code::ResourceExhausted] {
            let details = ErrorDetails::with_retry_info(Some(wait));
            let status = Status::with_error_details(code, "", details);
            let paused = after_progress().pause(status.into()).unwrap();
            assert_eq!(paused.delay, wait, "{code:?}");
        }
        assert!(after_progress().pause(Status::resource_exhausted("a full disk").into()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_user_is_told_once_that_it_goes_on() {
        let mut resume = after_progress();
        assert!(!resume.is_resumed());
        resume.pause(Error::Truncated).unwrap();
        assert!(resume.is_resumed() && !resume.is_resumed());
    }
}
