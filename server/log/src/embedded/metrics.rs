//! What a log on disk reports to metrics.

use std::{fmt::Debug, time::Duration};

/// Counts the writes and reads of a log on disk. Every method defaults to counting nothing.
///
/// Called on the log's hot path: an implementation must not block.
pub trait LogMetrics: Debug + Send + Sync + 'static {
    /// One commit stored this many posts, and its fsync took this long.
    fn stored(&self, _posts: usize, _fsync: Duration) {}

    /// One read found its posts there.
    fn read(&self, _source: ReadSource) {}
}

/// Where a read found its posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadSource {
    /// In memory, among the newest posts.
    Ring,
    /// In memory, in a block that an earlier read loaded.
    Block,
    /// In the segment files, which the system may have in its page cache.
    Disk,
}

/// Counts nothing.
#[derive(Debug)]
pub(super) struct Unmetered;

impl LogMetrics for Unmetered {}
