//! Quartet's goals, as ratios: both sides of each come from the same run.

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

/// A figure and its goal.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) work: &'static str,
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    /// `None` if the comparison was not run.
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
    let goal = |work, what, bound, reached| Goal { work, what, bound, reached };
    let ratios = |work: &'static str, table: &'static Table| {
        move |what: &'static str, bound: Bound, over: &str, under: &str, metric: Metric| {
            goal(work, what, bound, results.ratio(table, over, under, metric))
        }
    };
    let median =
        |table: &Table, metric: Metric| results.spread(table, OURS, metric).map(|it| it.median);
    let min = |table: &Table, metric: Metric| results.spread(table, OURS, metric).map(|it| it.min);

    let list = ratios("ListPosts", &LIST);
    let client = ratios("client", &CLIENT);
    let unary = ratios("ListPostsByUserId", &UNARY);
    let channel = ratios("a channel", &OVERHEAD);
    let upload = ratios("UploadPosts", &UPLOAD);
    let full = ratios("TagFeed, 1,000 saturated", &SATURATED_1000);
    let paced_100 = ratios("TagFeed, 100 x 2,000/s", &PACED_100);
    let paced_1000 = ratios("TagFeed, 1,000 x 200/s", &PACED_1000);
    let tag = ratios("TagFeed, a tag", &TAG);
    let chain = ratios("the chain, ListPosts", &CHAIN_LIST);
    let tls = ratios("TLS", &TLS);
    let readers = ratios("many readers", &READERS);

    // The best store is the one with the smallest ratio.
    let stores = STORES.iter().filter_map(|(store, _)| results.ratio(&UPLOAD, OURS, store, rate));
    let best_store = stores.reduce(f64::min);
    vec![
        list("CPU of tonic with async_stream / ours", AtLeast(2.5), ASYNC_STREAM, OURS, server_cpu),
        list("CPU of tonic with mpsc(4) / ours", AtLeast(8.0), MPSC4, OURS, server_cpu),
        list("CPU of grpc-go / ours", AtLeast(8.0), GRPC_GO, OURS, server_cpu),
        list("rate of ours / raw TCP", AtLeast(0.8), OURS, RAW_TCP, rate),
        list("CPU from segments / from memory", AtMost(1.3), ON_DISK, OURS, server_cpu),
        client(
            "rate of read_posts / tonic and prost",
            AtLeast(2.5),
            OUR_CLIENT,
            TONIC_CLIENT,
            rate,
        ),
        unary("rate of ours / tonic", AtLeast(1.5), OURS, TONIC, rate),
        unary("rate of ours / grpc-go", AtLeast(1.2), OURS, GRPC_GO, rate),
        unary("rate of ours / gRPC C++ with callbacks", AtLeast(1.2), OURS, GRPC_CPP, rate),
        unary("p99 of tonic / ours", AtLeast(2.5), TONIC, OURS, p99),
        channel(
            "CPU of a load over quartet_client / tonic",
            AtMost(1.05),
            OUR_CHANNEL,
            TONIC_CHANNEL,
            load_cpu,
        ),
        upload("rate of ours / append + fdatasync", AtLeast(0.4), OURS, RAW_APPEND, rate),
        goal("UploadPosts", "rate of ours / the best embedded store's", AtLeast(4.0), best_store),
        goal(
            "UploadPosts",
            "bytes on the device per byte of post",
            AtMost(1.3),
            median(&UPLOAD, amplification),
        ),
        full("CPU of tonic with broadcast / ours", AtLeast(4.0), BROADCAST, OURS, server_cpu),
        full("deliveries per second of ours / NATS core", AtLeast(1.8), OURS, NATS, rate),
        goal(
            "TagFeed, 1,000 saturated",
            "per cent delivered",
            AtLeast(100.0),
            min(&SATURATED_1000, delivered),
        ),
        paced_100("CPU of tonic with broadcast / ours", AtLeast(3.5), BROADCAST, OURS, server_cpu),
        paced_100("CPU of ours / NATS core", AtMost(1.0), OURS, NATS, server_cpu),
        paced_100("p99 of ours / NATS core", AtMost(1.0), OURS, NATS, p99),
        paced_1000("CPU of tonic with broadcast / ours", AtLeast(3.5), BROADCAST, OURS, server_cpu),
        paced_1000("CPU of ours / NATS core", AtMost(1.5), OURS, NATS, server_cpu),
        paced_1000("p99 of ours / NATS core", AtMost(2.0), OURS, NATS, p99),
        tag(
            "CPU per publish among 10,000 feeds / 10",
            AtMost(1.2),
            TAG_AMONG,
            TAG_ALONE,
            server_cpu,
        ),
        goal("idle", "KiB per feed", AtMost(3.0), median(&IDLE_FEEDS, kib_each)),
        goal("idle", "KiB per connection", AtMost(26.0), median(&IDLE_CONNECTIONS, kib_each)),
        goal("idle", "feeds held at once", AtLeast(100_000.0), min(&IDLE_MANY, count)),
        chain("rate with all of it / without", AtLeast(0.9), WHOLE, BARE, rate),
        chain("CPU with all of it / without", AtMost(1.1), WHOLE, BARE, server_cpu),
        tls("rate over TLS / in plaintext", AtLeast(0.5), OVER_TLS, OURS, rate),
        readers("rate of 64 / 1", AtLeast(1.6), READERS_64, ONE_READER, rate),
    ]
}
