//! Acting on news where they become known, instead of waking a task for them.

use std::fmt::Debug;

use tokio::time::Instant;

/// Acts on news in the task that learns of them.
pub trait Observer: Debug + Send + Sync {
    /// There may be news. Returns whether anything came of them; if not, the caller wakes the task
    /// that waits for them. It must not block.
    fn notify(&self, now: Instant) -> bool;
}
