//! What the tests share: servers, short words for what is done with them, and the checker of what comes out.
//!
//! - [`server`]: a server on a port of its own, or over pipes in memory for tests of time.
//! - [`calls`]: posts, uploads, lists, and the statuses that refuse them.
//! - [`certs`]: certificates, keys and tokens.
//! - [`feed`]: one feed, step by step.
//! - [`order`]: what a reader received against the log, promise by promise.
//! - [`proxy`]: a network that can be cut, stalled and slowed.
//! - [`raw`]: requests that no generated client would send.
//! - [`http2`]: a client that speaks HTTP/2 frame by frame.
//! - [`log`]: what a server logs, as its access log reads.
//! - [`fakes`]: a User service that counts, and a log that waits or fails when it is told to.

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

/// Longer than anything here takes: a test that waits for so long has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("this should have happened by now")
}

/// Whether something waits, and goes on waiting. Only for paused time over pipes: there, time passes only once
/// nothing else can happen.
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
