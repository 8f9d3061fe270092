//! Exponential backoff with jitter, for reconnecting, retrying and resuming.
//!
//! The nth delay is `initial × multiplier^(n-1)`, at most `max`, plus or minus up to 20 %, so that
//! clients that failed together do not return together. The jitter comes from [`fastrand`], which a
//! simulation can seed.

use std::time::Duration;

const JITTER: f64 = 0.2;

/// A sequence of growing delays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential {
    /// The first delay.
    pub initial: Duration,
    /// The longest delay, before jitter.
    pub max: Duration,
    /// The factor from one delay to the next.
    pub multiplier: f64,
    /// The next delay, before jitter.
    next: Duration,
}

impl Exponential {
    /// A sequence that starts with `initial`.
    pub fn new(initial: Duration, max: Duration, multiplier: f64) -> Self {
        Self { initial, max, multiplier, next: initial.min(max) }
    }

    /// [gRPC's connection
    /// backoff](https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md): 1 s × 1.6 up
    /// to 120 s.
    pub fn connection() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(120), 1.6)
    }

    /// Returns the next delay, with jitter.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        // A product that overflows a Duration also exceeds the longest delay.
        let grown = Duration::try_from_secs_f64(delay.as_secs_f64() * self.multiplier);
        self.next = grown.unwrap_or(self.max).min(self.max);
        delay.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))
    }

    /// Starts again with the first delay.
    pub fn reset(&mut self) {
        self.next = self.initial.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_delay_is_within_a_fifth_of_the_formula(
            initial in 1_u64..10_000_000,
            max in 1_u64..1_000_000_000,
            multiplier in 0.1_f64..10.0,
            n in 1_i32..40,
        ) {
            let (initial, max) = (Duration::from_micros(initial), Duration::from_micros(max));
            let mut backoff = Exponential::new(initial, max, multiplier);
            let delay = (0..n).map(|_| backoff.next_delay()).last().unwrap().as_secs_f64();
            let exact = initial.min(max).as_secs_f64() * multiplier.powi(n - 1);
            let exact = exact.min(max.as_secs_f64());
            // Each step rounds to a nanosecond.
            let fifth = exact * 0.799 - 1e-7..=exact * 1.201 + 1e-7;
            prop_assert!(fifth.contains(&delay), "{delay} for {exact}");
            backoff.reset();
            let first = backoff.next_delay().as_secs_f64();
            prop_assert!(first <= initial.as_secs_f64() * 1.201);
        }
    }

    #[test]
    fn connection_backoff_follows_the_grpc_document() {
        let mut backoff = Exponential::connection();
        for expected in [1.0, 1.6, 2.56] {
            let delay = backoff.next_delay().as_secs_f64();
            assert!((expected * 0.79..expected * 1.21).contains(&delay), "{delay}");
        }
        let longest = (0..50).map(|_| backoff.next_delay()).max().unwrap();
        assert!(longest > Duration::from_secs(100) && longest <= Duration::from_secs(144));
    }
}
