//! What Quartet wants to reach, as ratios: both sides of each come from the same run.

use super::{
    results::{
        Metric, Results, amplification, count, delivered, kib_each, load_cpu, p99, rate, server_cpu,
    },
    works::{
        ASYNC_STREAM, BARE, BROADCAST, CHAIN_LIST, CLIENT, GRPC_CPP, GRPC_GO, IDLE_CONNECTIONS,
        IDLE_FEEDS, IDLE_MANY, LIST, MPSC4, NATS, ON_DISK, ONE_READER, OUR_CHANNEL, OUR_CLIENT,
        OURS, OVER_TLS, OVERHEAD, PACED_100, PACED_1000, RAW_APPEND, RAW_TCP, READERS, READERS_64,
        SATURATED_1000, STORES, TAG, TAG_ALONE, TAG_AMONG, TLS, TONIC, TONIC_CHANNEL, TONIC_CLIENT,
        Table, UNARY, UPLOAD, WHOLE,
    },
};

/// A figure and what it should be.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) work: &'static str,
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    /// `None` if what it compares was not run.
    pub(super) reached: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}
use Bound::{AtLeast, AtMost};

impl Goal {
    pub(super) fn met(&self) -> Option<bool> {
        self.reached.map(|reached| match self.bound {
            AtLeast(bound) => reached >= bound,
            AtMost(bound) => reached <= bound,
        })
    }
}

pub(super) fn goals(results: &Results) -> Vec<Goal> {
    let ratio =
        |table: &Table, over, under, metric: Metric| results.ratio(table, over, under, metric);
    let goal = |work, what, bound, reached| Goal { work, what, bound, reached };
    let figure = |table, metric: Metric| results.spread(table, OURS, metric);
    let list = |over, under, metric| ratio(&LIST, over, under, metric);
    let unary = |over, under, metric| ratio(&UNARY, over, under, metric);
    let paced_100 = |over, under, metric| ratio(&PACED_100, over, under, metric);
    let paced_1000 = |over, under, metric| ratio(&PACED_1000, over, under, metric);
    let full = &SATURATED_1000;
    // The best store is the one that ours is the least ahead of.
    let stores = STORES.iter().filter_map(|(store, _)| ratio(&UPLOAD, OURS, store, rate));
    let best_store = stores.reduce(f64::min);
    let goals = vec![
        goal(
            "ListPosts",
            "CPU of tonic with async_stream / ours",
            AtLeast(2.5),
            list(ASYNC_STREAM, OURS, server_cpu),
        ),
        goal(
            "ListPosts",
            "CPU of tonic with mpsc(4) / ours",
            AtLeast(8.0),
            list(MPSC4, OURS, server_cpu),
        ),
        goal("ListPosts", "CPU of grpc-go / ours", AtLeast(8.0), list(GRPC_GO, OURS, server_cpu)),
        goal("ListPosts", "rate of ours / raw TCP", AtLeast(0.8), list(OURS, RAW_TCP, rate)),
        goal(
            "ListPosts",
            "CPU from segments / from memory",
            AtMost(1.3),
            list(ON_DISK, OURS, server_cpu),
        ),
        goal(
            "client",
            "rate of read_posts / tonic and prost",
            AtLeast(2.5),
            ratio(&CLIENT, OUR_CLIENT, TONIC_CLIENT, rate),
        ),
        goal("ListPostsByUserId", "rate of ours / tonic", AtLeast(1.5), unary(OURS, TONIC, rate)),
        goal(
            "ListPostsByUserId",
            "rate of ours / grpc-go",
            AtLeast(1.2),
            unary(OURS, GRPC_GO, rate),
        ),
        goal(
            "ListPostsByUserId",
            "rate of ours / gRPC C++ with callbacks",
            AtLeast(1.2),
            unary(OURS, GRPC_CPP, rate),
        ),
        goal("ListPostsByUserId", "p99 of tonic / ours", AtLeast(2.5), unary(TONIC, OURS, p99)),
        goal(
            "a channel",
            "CPU of a load over quartet_client / tonic",
            AtMost(1.05),
            ratio(&OVERHEAD, OUR_CHANNEL, TONIC_CHANNEL, load_cpu),
        ),
        goal(
            "UploadPosts",
            "rate of ours / append + fdatasync",
            AtLeast(0.4),
            ratio(&UPLOAD, OURS, RAW_APPEND, rate),
        ),
        goal("UploadPosts", "rate of ours / the best embedded store's", AtLeast(4.0), best_store),
        goal(
            "UploadPosts",
            "bytes on the device per byte of post",
            AtMost(1.3),
            figure(&UPLOAD, amplification).map(|it| it.median),
        ),
        goal(
            "TagFeed, 1,000 saturated",
            "CPU of tonic with broadcast / ours",
            AtLeast(4.0),
            ratio(full, BROADCAST, OURS, server_cpu),
        ),
        goal(
            "TagFeed, 1,000 saturated",
            "deliveries per second of ours / NATS core",
            AtLeast(1.8),
            ratio(full, OURS, NATS, rate),
        ),
        goal(
            "TagFeed, 1,000 saturated",
            "per cent delivered",
            AtLeast(100.0),
            figure(full, delivered).map(|it| it.min),
        ),
        goal(
            "TagFeed, 100 x 2,000/s",
            "CPU of tonic with broadcast / ours",
            AtLeast(3.5),
            paced_100(BROADCAST, OURS, server_cpu),
        ),
        goal(
            "TagFeed, 100 x 2,000/s",
            "CPU of ours / NATS core",
            AtMost(1.0),
            paced_100(OURS, NATS, server_cpu),
        ),
        goal(
            "TagFeed, 100 x 2,000/s",
            "p99 of ours / NATS core",
            AtMost(1.0),
            paced_100(OURS, NATS, p99),
        ),
        goal(
            "TagFeed, 1,000 x 200/s",
            "CPU of tonic with broadcast / ours",
            AtLeast(3.5),
            paced_1000(BROADCAST, OURS, server_cpu),
        ),
        goal(
            "TagFeed, 1,000 x 200/s",
            "CPU of ours / NATS core",
            AtMost(1.5),
            paced_1000(OURS, NATS, server_cpu),
        ),
        goal(
            "TagFeed, 1,000 x 200/s",
            "p99 of ours / NATS core",
            AtMost(2.0),
            paced_1000(OURS, NATS, p99),
        ),
        goal(
            "TagFeed, a tag",
            "CPU per publish among 10,000 feeds / 10",
            AtMost(1.2),
            ratio(&TAG, TAG_AMONG, TAG_ALONE, server_cpu),
        ),
        goal(
            "idle",
            "KiB per feed",
            AtMost(3.0),
            figure(&IDLE_FEEDS, kib_each).map(|it| it.median),
        ),
        goal(
            "idle",
            "KiB per connection",
            AtMost(26.0),
            figure(&IDLE_CONNECTIONS, kib_each).map(|it| it.median),
        ),
        goal(
            "idle",
            "feeds held at once",
            AtLeast(100_000.0),
            figure(&IDLE_MANY, count).map(|it| it.min),
        ),
        goal(
            "the chain, ListPosts",
            "rate with all of it / without",
            AtLeast(0.9),
            ratio(&CHAIN_LIST, WHOLE, BARE, rate),
        ),
        goal(
            "the chain, ListPosts",
            "CPU with all of it / without",
            AtMost(1.1),
            ratio(&CHAIN_LIST, WHOLE, BARE, server_cpu),
        ),
        goal(
            "TLS",
            "rate over TLS / in plaintext",
            AtLeast(0.5),
            ratio(&TLS, OVER_TLS, OURS, rate),
        ),
        goal(
            "many readers",
            "rate of 64 / 1",
            AtLeast(1.6),
            ratio(&READERS, READERS_64, ONE_READER, rate),
        ),
    ];
    goals
}
