//! When to go on after a cut, and when to give up. The one rule that all four clients share.
//!
//! - Only what is [resumable](Error::is_resumable) is tried again.
//! - A call that has achieved nothing yet fails at once: its caller learns right away that no server is there.
//! - After that, delays grow from 0.1 s by 1.6 up to 5 s, each ± 20 % so that clients that were cut together do not
//!   come back together. A server that names a longer delay is obeyed.
//! - Progress resets the delay. When a call has tried again for 60 s without any, the last error is final. How long it was
//!   silent before the cut does not count: a dead link may take its time to be noticed.

use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
const GROWTH: f64 = 1.6;
const JITTER: f64 = 0.2;
/// Longer than a server needs to restart, shorter than a user waits for a program that says nothing new.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cut that is waited out: tell the user, then sleep for `delay`.
#[derive(Debug)]
pub struct Disconnected {
    /// What ended the previous attempt.
    pub cause: Error,
    /// The time until the next one.
    pub delay: Duration,
}

/// The delays of one call.
#[derive(Debug)]
pub struct Backoff {
    delay: Duration,
    /// Whether there was ever any progress.
    achieved: bool,
    /// The first cut since the last progress.
    failing_since: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { delay: FIRST_DELAY, achieved: false, failing_since: None }
    }
}

impl Backoff {
    /// Something was achieved that the next attempt need not repeat.
    pub fn progress(&mut self) {
        *self = Self { achieved: true, ..Self::default() };
    }

    /// The pause before the next attempt.
    ///
    /// # Errors
    /// `cause` itself, if there shall be no next attempt.
    pub fn pause(&mut self, cause: Error) -> Result<Disconnected, Error> {
        let patient = self.failing_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE;
        if !self.achieved || !patient || !cause.is_resumable() {
            return Err(cause);
        }
        let jitter = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
        let delay = self.delay.mul_f64(jitter).max(cause.retry_delay().unwrap_or_default());
        self.delay = self.delay.mul_f64(GROWTH).min(LONGEST_DELAY);
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

    #[tokio::test(start_paused = true)]
    async fn nothing_is_tried_again_before_the_first_progress() {
        assert!(Backoff::default().pause(Error::Truncated).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_a_limit_and_progress_resets_them() {
        let mut backoff = Backoff::default();
        backoff.progress();
        for expected in [100, 160, 256] {
            let delay = backoff.pause(Error::Truncated).unwrap().delay;
            assert!(within_jitter(delay, Duration::from_millis(expected)), "{delay:?}");
        }
        let longest = (0..20).map(|_| backoff.pause(Error::Truncated).unwrap().delay).max();
        assert!(within_jitter(longest.unwrap(), LONGEST_DELAY), "{longest:?}");
        backoff.progress();
        assert!(within_jitter(backoff.pause(Error::Truncated).unwrap().delay, FIRST_DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_of_tries_without_progress_is_the_end_however_long_it_was_silent_before() {
        let mut backoff = Backoff::default();
        backoff.progress();
        tokio::time::advance(PATIENCE * 10).await;
        assert!(backoff.pause(Error::Truncated).is_ok());
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert!(backoff.pause(Error::Truncated).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(backoff.pause(Error::Truncated).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_resumed_is_final_at_once() {
        let mut backoff = Backoff::default();
        backoff.progress();
        assert!(backoff.pause(Status::data_loss("").into()).is_err());
        assert!(backoff.pause(Error::Protocol(String::new())).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_that_the_server_names_is_kept() {
        use tonic_types::{ErrorDetails, StatusExt as _};
        let wait = Duration::from_secs(3);
        // It stops, or its user has made too many calls.
        for code in [tonic::Code::Unavailable, tonic::Code::ResourceExhausted] {
            let details = ErrorDetails::with_retry_info(Some(wait));
            let status = Status::with_error_details(code, "", details);
            let mut backoff = Backoff::default();
            backoff.progress();
            assert_eq!(backoff.pause(status.into()).unwrap().delay, wait, "{code:?}");
        }
        let mut backoff = Backoff::default();
        backoff.progress();
        assert!(backoff.pause(Status::resource_exhausted("a full disk").into()).is_err());
    }
}
