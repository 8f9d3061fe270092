//! Retry throttling: one token bucket per channel. When many calls fail, retrying adds to the load
//! that makes them fail.

use std::sync::Mutex;

use crate::service_config::RetryThrottling;

/// The token bucket of a channel.
#[derive(Debug)]
pub(crate) struct Throttle {
    config: RetryThrottling,
    tokens: Mutex<f64>,
}

impl Throttle {
    pub(crate) fn new(config: RetryThrottling) -> Self {
        Self { config, tokens: Mutex::new(config.max_tokens) }
    }

    /// An attempt succeeded.
    pub(crate) fn success(&self) {
        self.change(self.config.token_ratio);
    }

    /// An attempt failed in a way that another might repair, or the server asked for no other.
    /// Returns whether another attempt is allowed.
    pub(crate) fn failure(&self) -> bool {
        self.change(-1.0) > self.config.max_tokens / 2.0
    }

    /// Whether attempts beyond the first are allowed now.
    pub(crate) fn allows(&self) -> bool {
        self.change(0.0) > self.config.max_tokens / 2.0
    }

    fn change(&self, by: f64) -> f64 {
        let mut tokens = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *tokens = (*tokens + by).clamp(0.0, self.config.max_tokens);
        *tokens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retries_stop_at_half_a_bucket_and_resume_with_successes() {
        let throttle = Throttle::new(RetryThrottling { max_tokens: 4.0, token_ratio: 0.5 });
        assert!(throttle.failure(), "3 of 4");
        assert!(!throttle.failure(), "2 of 4 is not more than half");
        assert!(!throttle.allows());
        throttle.success();
        assert!(throttle.allows());
    }

    proptest! {
        #[test]
        fn the_bucket_never_overflows_or_goes_negative(
            max_tokens in 0.1_f64..1000.0,
            token_ratio in 0.001_f64..10.0,
            events in prop::collection::vec(any::<bool>(), 0..3000),
        ) {
            let throttle = Throttle::new(RetryThrottling { max_tokens, token_ratio });
            for success in events {
                if success { throttle.success() } else { throttle.failure(); }
                prop_assert!((0.0..=max_tokens).contains(&*throttle.tokens.lock().unwrap()));
            }
        }
    }
}
