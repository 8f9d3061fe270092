//! Metrics of the log on disk.

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
use quartet_log::{LogMetrics, ReadSource};

/// The instruments of the log on disk. Clones share them.
#[derive(Debug, Clone)]
pub struct LogInstruments {
    /// Posts per commit.
    append_posts: Histogram,
    /// Duration of each fsync, in seconds.
    fsync: Histogram,
    reads: Family<Labels, Counter>,
    /// The counters of `reads`, in the order of `SOURCES`.
    by_source: [Counter; SOURCES.len()],
}

/// Where reads find their posts, with labels.
const SOURCES: [(ReadSource, &str); 3] =
    [(ReadSource::Ring, "ring"), (ReadSource::Block, "block"), (ReadSource::Disk, "disk")];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    from: &'static str,
}

impl Default for LogInstruments {
    fn default() -> Self {
        let reads = Family::default();
        let by_source =
            SOURCES.map(|(_, from)| Counter::clone(&reads.get_or_create(&Labels { from })));
        Self {
            reads,
            by_source,
            // 1 to 4,096, the most posts in one commit.
            append_posts: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            // 50 µs to 1.6 s.
            fsync: Histogram::new(exponential_buckets(0.00005, 2.0, 16)),
        }
    }
}

impl LogInstruments {
    /// Adds the instruments to a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let log = registry.sub_registry_with_prefix("quartet_log");
        let help = "Posts that were stored with one write and one fsync";
        log.register("append_posts", help, self.append_posts.clone());
        let help = "How long an fsync took";
        log.register_with_unit("fsync", help, Unit::Seconds, self.fsync.clone());
        let help = "Reads of the log on disk, by where the posts were found";
        log.register("reads", help, self.reads.clone());
    }
}

impl LogMetrics for LogInstruments {
    fn stored(&self, posts: usize, fsync: Duration) {
        self.append_posts.observe(posts as f64);
        self.fsync.observe(fsync.as_secs_f64());
    }

    fn read(&self, source: ReadSource) {
        if let Some(at) = SOURCES.iter().position(|(known, _)| *known == source) {
            self.by_source[at].inc();
        }
    }
}
