//! Waiting for what must happen, and noticing what cannot.

use std::time::Duration;

use quartet_runtime::gauge::Gauge;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes: a test that waits for so long has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("this should have happened by now")
}

/// Whether a future is pending and stays so. Only for paused time over pipes: there, time passes
/// only once nothing else can happen.
pub async fn is_stuck<T>(what: impl Future<Output = T>) -> bool {
    timeout(Duration::from_millis(10), what).await.is_err()
}

/// Waits until this many are open.
pub async fn reaches(gauge: &Gauge, count: usize) {
    soon(async {
        while gauge.get() != count {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
