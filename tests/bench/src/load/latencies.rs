//! Percentiles of latencies.

use hdrhistogram::Histogram;

use crate::{error::Result, usage::Figures};

/// Latencies in microseconds, up to a minute, to two digits.
pub(super) fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 2)?)
}

impl Figures {
    /// Adds the percentiles of these latencies.
    pub(super) fn with_latencies(mut self, latencies: &Histogram<u64>) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        (self.p50_ms, self.p99_ms) = (Some(at(0.5)), Some(at(0.99)));
        self
    }
}
