//! Waiting for what must happen, under a timeout.

use std::time::Duration;

use quartet_runtime::gauge::Gauge;
use tokio::time::{sleep, timeout};

/// Longer than any step of a test takes: one that waits this long has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("this should have happened by now")
}

/// Whether a future keeps waiting. Only for paused time over pipes, where time passes only once
/// nothing else can happen.
pub async fn is_stuck<T>(what: impl Future<Output = T>) -> bool {
    timeout(Duration::from_millis(10), what).await.is_err()
}

/// Waits until a gauge reaches this count.
pub async fn reaches(gauge: &Gauge, count: usize) {
    soon(async {
        while gauge.get() != count {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
