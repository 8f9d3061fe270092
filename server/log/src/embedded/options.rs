//! How to open a log.

use std::sync::Arc;

use super::{
    index::{HashId, hash_id},
    metrics::{LogMetrics, Unmetered},
    ring::RingLimits,
};
use crate::{disk::Access, segment::Identity};

/// How to open an [`EmbeddedLog`](crate::EmbeddedLog).
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// [`Access::Read`] and [`Access::Observe`] change nothing on disk, refuse appends, and serve
    /// the posts that precede any damage.
    pub access: Access,
    /// Size at which a segment ends, in bytes; values over 1 GiB count as 1 GiB. Opening the log
    /// copies its last segment once.
    pub segment_bytes: u64,
    /// The identity of a log that is created. An existing log keeps its own.
    pub identity: Identity,
    /// How many of the newest posts are kept in memory.
    pub ring: RingLimits,
    /// The hash of post ids. Only tests choose another than [`hash_id`].
    pub hash_id: HashId,
    /// Counts writes and reads.
    pub metrics: Arc<dyn LogMetrics>,
}

impl Default for LogOptions {
    /// A log with a random identity that is opened for writing, with segments of 16 MiB.
    fn default() -> Self {
        Self {
            access: Access::Write,
            segment_bytes: 16 * 1024 * 1024,
            identity: Identity::random(),
            ring: RingLimits::default(),
            hash_id,
            metrics: Arc::new(Unmetered),
        }
    }
}
