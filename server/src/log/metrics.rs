//! What is counted of the log on disk.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Its counters. Clones share them.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    /// Posts of one commit.
    append_posts: Histogram,
    /// Seconds that making one durable took.
    fsync: Histogram,
    reads: Family<From, Counter>,
    /// Those of `reads`, by [`Source`].
    by_source: [Counter; 3],
}

/// Where a read found its posts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// Among the newest posts.
    Ring,
    /// In a block that was kept.
    Block,
    /// In the segments' files, which the system may have in memory.
    Disk,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct From {
    from: &'static str,
}

impl Default for LogMetrics {
    fn default() -> Self {
        let reads = Family::default();
        let of = |from| Counter::clone(&reads.get_or_create(&From { from }));
        // In the order of `Source`.
        let by_source = ["ring", "block", "disk"].map(of);
        Self {
            reads,
            by_source,
            // 1 to 4,096, the most that a commit has.
            append_posts: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            // 50 µs to 1.6 s.
            fsync: Histogram::new(exponential_buckets(0.00005, 2.0, 16)),
        }
    }
}

impl LogMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let log = registry.sub_registry_with_prefix("quartet_log");
        let help = "Posts that were stored with one write and one fsync";
        log.register("append_posts", help, self.append_posts.clone());
        let help = "How long an fsync took";
        log.register_with_unit("fsync", help, Unit::Seconds, self.fsync.clone());
        let help = "Reads of the log on disk, by where the posts were found";
        log.register("reads", help, self.reads.clone());
    }

    pub(super) fn stored(&self, posts: usize, fsync: Duration) {
        self.append_posts.observe(posts as f64);
        self.fsync.observe(fsync.as_secs_f64());
    }

    pub(super) fn read(&self, from: Source) {
        self.by_source[from as usize].inc();
    }
}
