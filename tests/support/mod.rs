//! What the tests share: servers, helpers for calls, and the order checker.
//!
//! - [`server`]: a server at its own port, or over pipes in memory for tests of time.
//! - [`calls`]: posts, uploads, lists, and the statuses that refuse them.
//! - [`certs`]: certificates, keys and tokens.
//! - [`feed`]: one feed, step by step.
//! - [`order`]: checks what a reader received against the log, promise by promise.
//! - [`proxy`]: a network that can be cut, stalled and slowed.
//! - [`raw`]: requests that no generated client would send.
//! - [`http2`]: a client that speaks HTTP/2 frame by frame.
//! - [`log`]: what a server logs, parsed from its access log.
//! - [`fakes`]: a User service that counts, and a log that can be slow, broken or damaged.

use std::time::Duration;

use quartet_runtime::gauge::Gauge;
use tokio::time::{sleep, timeout};

pub mod calls;
pub mod certs;
pub mod fakes;
pub mod feed;
pub mod http2;
pub mod log;
pub mod order;
pub mod proxy;
pub mod raw;
pub mod server;

pub use calls::*;
pub use feed::Feed;
pub use server::TestServer;

/// Longer than any step of a test takes: a test that waits this long has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for something that must happen [`SOON`].
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("this should have happened by now")
}

/// Whether a future is pending and stays so. Only for paused time over pipes: there, time passes
/// only once nothing else can happen.
pub async fn is_stuck<T>(what: impl Future<Output = T>) -> bool {
    timeout(Duration::from_millis(10), what).await.is_err()
}

/// Waits until a gauge has this count.
pub async fn reaches(gauge: &Gauge, count: usize) {
    soon(async {
        while gauge.get() != count {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
