//! A callback for news, such as a new post, that avoids waking a task.

use std::fmt::Debug;

use tokio::time::Instant;

/// Handles news in the task that has them.
pub trait Observer: Debug + Send + Sync {
    /// Looks for news and handles them. Returns whether it did; if not, the caller wakes the
    /// waiting task. Must not block.
    fn notify(&self, now: Instant) -> bool;
}
