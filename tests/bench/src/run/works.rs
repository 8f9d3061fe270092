//! The comparisons: tables, their subjects, and the amount of work for each.
//!
//! In each trial our server works for about a second of a fast core. Slower subjects get less work,
//! so that their trials take about as long: figures are per million.

use clap::ValueEnum;

use super::toolchains::{Built, Foreign};

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    List,
    Unary,
    Upload,
    Feed,
    Idle,
    Readers,
    Chain,
}

/// The amount of work.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) rounds: usize,
    /// Whether to run subjects without goals.
    all: bool,
    /// Posts in our log, which a list reads to the end.
    posts: u64,
    /// Posts listed in total.
    listed: u64,
    /// Posts in a log that many readers list.
    read: u64,
    calls: u64,
    uploaded: u64,
    /// Messages of a feed at full speed.
    deliveries: u64,
    /// Duration of a paced feed, in seconds.
    seconds: u64,
}

impl Scale {
    pub(super) const QUICK: Self = Self {
        rounds: 3,
        all: false,
        posts: 100_000,
        listed: 2_000_000,
        read: 40_000,
        calls: 40_000,
        uploaded: 400_000,
        deliveries: 2_000_000,
        seconds: 2,
    };
    pub(super) const FULL: Self = Self {
        rounds: 5,
        all: true,
        posts: 1_000_000,
        listed: 5_000_000,
        read: 100_000,
        calls: 200_000,
        uploaded: 1_000_000,
        deliveries: 10_000_000,
        seconds: 5,
    };
}

/// One comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The name of its plot.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The unit that is counted.
    pub(super) unit: &'static str,
}

const fn table(name: &'static str, title: &'static str, unit: &'static str) -> Table {
    Table { name, title, unit }
}

pub(super) const LIST: Table =
    table("list", "ListPosts, one stream, every post decoded and checked", "posts");
pub(super) const CLIENT: Table =
    table("client", "Clients that read ListPosts of our server", "posts");
pub(super) const UNARY: Table =
    table("unary", "ListPostsByUserId, 10 posts, 64 calls at once on one connection", "calls");
pub(super) const OVERHEAD: Table = table(
    "overhead",
    "ListPostsByUserId, 10 posts, one call after another, by the client's channel",
    "calls",
);
pub(super) const UPLOAD: Table = table("upload", "UploadPosts, distinct ids, one stream", "posts");
pub(super) const SATURATED_100: Table = table(
    "feed-100-saturated",
    "TagFeed, 100 subscribers on 10 connections, as fast as it goes",
    "deliveries",
);
pub(super) const SATURATED_1000: Table = table(
    "feed-1000-saturated",
    "TagFeed, 1,000 subscribers on 10 connections, as fast as it goes",
    "deliveries",
);
pub(super) const PACED_100: Table =
    table("feed-100-paced", "TagFeed, 100 subscribers, 2,000 messages per second", "deliveries");
pub(super) const PACED_1000: Table =
    table("feed-1000-paced", "TagFeed, 1,000 subscribers, 200 messages per second", "deliveries");
pub(super) const TAG: Table =
    table("feed-tag", "TagFeed, a tag that 10 feeds follow, 100 connections", "deliveries");
pub(super) const IDLE_FEEDS: Table =
    table("idle-feeds", "10,000 idle feeds, 100 to a connection", "feeds");
pub(super) const IDLE_CONNECTIONS: Table =
    table("idle-connections", "2,000 connections with an idle feed each", "connections");
pub(super) const IDLE_MANY: Table =
    table("idle-many", "100,000 idle feeds at once, 100 to a connection", "feeds");
pub(super) const READERS: Table =
    table("readers", "ListPosts, many readers over 8 connections, posts counted", "posts");
pub(super) const TLS: Table = table("tls", "ListPosts over TLS 1.3, one stream", "posts");
pub(super) const CHAIN_LIST: Table =
    table("chain-list", "What the chain costs: ListPosts, one stream", "posts");
pub(super) const CHAIN_UNARY: Table = table(
    "chain-unary",
    "What the chain costs: ListPostsByUserId, 10 posts, 64 calls at once on one connection",
    "calls",
);
pub(super) const CHAIN_FEED: Table = table(
    "chain-feed",
    "What the chain costs: TagFeed, 100 subscribers on 10 connections, as fast as it goes",
    "deliveries",
);

// The subjects that goals name.
pub(super) const OURS: &str = "Quartet";
pub(super) const OVER_TLS: &str = "Quartet, over TLS";
pub(super) const ON_DISK: &str = "Quartet, from segments";
pub(super) const BARE: &str = "Quartet, without the chain";
pub(super) const WHOLE: &str = "Quartet, with all of it";
pub(super) const ASYNC_STREAM: &str = "tonic, async_stream";
pub(super) const MPSC4: &str = "tonic, mpsc(4)";
pub(super) const TONIC: &str = "tonic";
pub(super) const BROADCAST: &str = "tonic, broadcast";
pub(super) const GRPC_GO: &str = "grpc-go";
pub(super) const GRPC_CPP: &str = "gRPC C++, callbacks";
pub(super) const NATS: &str = "NATS core";
pub(super) const RAW_TCP: &str = "limit: raw TCP";
pub(super) const RAW_APPEND: &str = "limit: append + fdatasync";
pub(super) const FAST_CLIENT: &str = "h2, borrowed decode";
pub(super) const OUR_CLIENT: &str = "quartet_client, read in place";
pub(super) const TONIC_CLIENT: &str = "tonic and prost";
pub(super) const OUR_CHANNEL: &str = "quartet_client::Channel, round_robin and retry";
pub(super) const TONIC_CHANNEL: &str = "tonic::transport::Channel";
pub(super) const ONE_READER: &str = "Quartet, 1 reader";
pub(super) const READERS_64: &str = "Quartet, 64 readers";
pub(super) const TAG_ALONE: &str = "Quartet, 10 feeds";
pub(super) const TAG_AMONG: &str = "Quartet, 10 of 10,000 feeds";
/// Ends the name of a subject with the build before of our server.
pub(super) const BEFORE: &str = ", before";
/// Without a goal.
const GRPC_PYTHON: &str = "gRPC Python";

/// Embedded stores, in this process and with the same indexes as ours; each with its factor of
/// slowness.
pub(super) const STORES: &[(&str, u64)] =
    if cfg!(feature = "stores") { &[("redb", 10), ("fjall", 5)] } else { &[] };

/// The server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// Ours, with its log in memory.
    Memory,
    /// The same without the optional layers.
    Bare,
    /// The same with everything optional: metrics, limits, and an access log that is written.
    Whole,
    /// Ours, over TLS.
    Tls,
    /// Ours, with its log on disk; a new process reads it after it was filled.
    Disk,
    /// A peer in Rust.
    Peer(&'static str),
    Foreign(Foreign),
    /// None: the load does the work itself.
    None,
}

// Servers that several tables share.
const TUTORIAL: Server = Server::Peer("async-stream");
const GO: Server = Server::Foreign(Foreign::GrpcGo);
const CPP: Server = Server::Foreign(Foreign::GrpcCpp);
const PYTHON: Server = Server::Foreign(Foreign::GrpcPython);

/// One subject of a table.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) table: &'static Table,
    pub(super) subject: &'static str,
    pub(super) server: Server,
    /// Posts that are uploaded before the measurement.
    pub(super) fill: u64,
    /// The load's arguments.
    pub(super) load: Vec<String>,
    /// Whether our server is the build before.
    pub(super) before: bool,
    /// Whether the quick form includes it.
    quick: bool,
}

impl Case {
    fn new(table: &'static Table, subject: &'static str, server: Server, work: &str) -> Self {
        let load = vec![work.to_owned()];
        Self { table, subject, server, fill: 0, load, before: false, quick: true }
    }

    fn fill(mut self, posts: u64) -> Self {
        self.fill = posts;
        self.with("posts", posts)
    }

    fn with(self, option: &str, value: u64) -> Self {
        self.option(option, &value.to_string())
    }

    fn option(mut self, option: &str, value: &str) -> Self {
        self.load.extend([format!("--{option}"), value.to_owned()]);
        self
    }

    fn lossy(mut self) -> Self {
        self.load.push("--lossy".to_owned());
        self
    }

    /// Without a goal.
    fn only_in_full(mut self) -> Self {
        self.quick = false;
        self
    }

    /// The same with the build before of our server.
    pub(super) fn before(&self) -> Option<Self> {
        use Server::{Bare, Disk, Memory, Tls, Whole};
        let ours = matches!(self.server, Memory | Bare | Whole | Tls | Disk);
        let subject = before(self.subject);
        ours.then(|| Self { subject, before: true, ..self.clone() })
    }

    pub(super) fn foreign(&self) -> Option<Foreign> {
        match self.server {
            Server::Foreign(foreign) => Some(foreign),
            _ => None,
        }
    }

    pub(super) fn can_run(&self, built: &Built) -> bool {
        self.foreign().is_none_or(|foreign| built.has(foreign))
    }
}

pub(super) fn cases(work: Work, scale: &Scale) -> Vec<Case> {
    let mut cases = match work {
        Work::List => {
            [lists(scale), clients(scale), encrypted(scale)].into_iter().flatten().collect()
        }
        Work::Unary => [unary(scale), overhead(scale)].into_iter().flatten().collect(),
        Work::Upload => uploads(scale),
        Work::Feed => feeds(scale),
        Work::Idle => idle(),
        Work::Readers => readers(scale),
        Work::Chain => chain(scale),
    };
    cases.retain(|case| scale.all || case.quick);
    cases
}

/// The name of a subject with the build before of our server. Names live as long as the run.
fn before(subject: &'static str) -> &'static str {
    format!("{subject}{BEFORE}").leak()
}

/// The most posts that a peer holds.
const PEER_POSTS: u64 = 100_000;

fn lists(scale: &Scale) -> Vec<Case> {
    let case = |subject, server, held: u64, slower: u64| {
        let listed = scale.listed / slower;
        let held = held.min(listed / 4); // one list of four runs before the measurement
        Case::new(&LIST, subject, server, "list").fill(held).with("lists", listed / held)
    };
    let ours = |subject, server| case(subject, server, scale.posts, 1);
    let peer = |subject, server, slower| case(subject, server, PEER_POSTS, slower);
    let batched = Server::Peer("async-stream-batched");
    let raw = Case::new(&LIST, RAW_TCP, Server::Peer("raw-tcp"), "raw-list");
    vec![
        ours(OURS, Server::Memory),
        ours(ON_DISK, Server::Disk),
        peer(ASYNC_STREAM, TUTORIAL, 2),
        peer("tonic, async_stream, 256 to a message", batched, 2).only_in_full(),
        peer(MPSC4, Server::Peer("mpsc4"), 5),
        peer(GRPC_GO, GO, 5),
        peer(GRPC_CPP, CPP, 10),
        peer(GRPC_PYTHON, PYTHON, 200),
        raw.with("posts", crate::peers::POSTS).with("lists", scale.listed / crate::peers::POSTS),
    ]
}

fn clients(scale: &Scale) -> Vec<Case> {
    let case = |subject, work, slower: u64| {
        let case = Case::new(&CLIENT, subject, Server::Memory, work).fill(scale.posts);
        case.with("lists", (scale.listed / slower / scale.posts).max(1))
    };
    vec![
        case(FAST_CLIENT, "list", 1).only_in_full(),
        case(OUR_CLIENT, "client-list", 1),
        case(TONIC_CLIENT, "tonic-list", 2),
    ]
}

fn encrypted(scale: &Scale) -> Vec<Case> {
    let case = |subject, server| {
        let case = Case::new(&TLS, subject, server, "list").fill(scale.posts);
        case.with("lists", scale.listed / 2 / scale.posts)
    };
    vec![case(OURS, Server::Memory), case(OVER_TLS, Server::Tls)]
}

fn unary(scale: &Scale) -> Vec<Case> {
    let case = |subject, server, slower| {
        let case = Case::new(&UNARY, subject, server, "unary").fill(10 * crate::posts::USERS);
        case.with("count", scale.calls / slower)
    };
    vec![
        case(OURS, Server::Memory, 1),
        case(TONIC, TUTORIAL, 1),
        case(GRPC_GO, GO, 1),
        case(GRPC_CPP, CPP, 1),
        case(GRPC_PYTHON, PYTHON, 20),
    ]
}

fn overhead(scale: &Scale) -> Vec<Case> {
    let case = |subject, work| {
        let case = Case::new(&OVERHEAD, subject, Server::Memory, work);
        case.fill(10 * crate::posts::USERS).with("count", scale.calls / 4)
    };
    vec![case(OUR_CHANNEL, "our-channel"), case(TONIC_CHANNEL, "tonic-channel")]
}

fn uploads(scale: &Scale) -> Vec<Case> {
    let case = |subject, server, work, slower| {
        Case::new(&UPLOAD, subject, server, work).with("count", scale.uploaded / slower)
    };
    let mut cases = vec![
        case(OURS, Server::Disk, "upload", 1),
        case("tonic, to a Vec", TUTORIAL, "upload", 1).only_in_full(),
        case("grpc-go, to a slice", GO, "upload", 1).only_in_full(),
        case("gRPC C++, to a vector", CPP, "upload", 2).only_in_full(),
        case("gRPC Python, to a list", PYTHON, "upload", 50).only_in_full(),
        case(RAW_APPEND, Server::None, "append", 1),
    ];
    for (store, slower) in STORES {
        cases.push(case(store, Server::None, "append", *slower).option("engine", store));
    }
    cases
}

fn feeds(scale: &Scale) -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, subscribers, rate, messages) in [
        (&SATURATED_100, 100, 0, scale.deliveries / 100),
        (&SATURATED_1000, 1_000, 0, scale.deliveries / 1_000),
        (&PACED_100, 100, 2_000, 2_000 * scale.seconds),
        (&PACED_1000, 1_000, 200, 200 * scale.seconds),
    ] {
        let case = |subject, server, work, slower| {
            // A paced feed takes the same time with every server.
            let messages = if rate == 0 { messages / slower } else { messages };
            let case = Case::new(table, subject, server, work).with("subscribers", subscribers);
            case.with("rate", rate).with("count", messages)
        };
        cases.extend([
            case(OURS, Server::Memory, "feed", 1),
            case(BROADCAST, TUTORIAL, "feed", 1).lossy(),
            case(GRPC_GO, GO, "feed", 4).only_in_full(),
            case(NATS, Server::Foreign(Foreign::Nats), "nats", 1),
        ]);
    }
    cases.extend([tag(scale, TAG_ALONE, 0), tag(scale, TAG_AMONG, 9_990)]);
    // Without a goal.
    cases.retain(|case| scale.all || *case.table != SATURATED_100);
    cases
}

fn tag(scale: &Scale, subject: &'static str, idle: u64) -> Case {
    let case = Case::new(&TAG, subject, Server::Memory, "feed").with("subscribers", 10);
    // Fewer deliveries than elsewhere: this is about the cost of a publish.
    case.with("connections", 100).with("idle", idle).with("count", scale.deliveries / 50)
}

fn idle() -> Vec<Case> {
    let case = |table, subject, server, connections, feeds| {
        let case = Case::new(table, subject, server, "idle");
        case.with("connections", connections).with("idle", feeds)
    };
    let mut cases = Vec::new();
    for (table, connections, feeds) in [(&IDLE_FEEDS, 100, 100), (&IDLE_CONNECTIONS, 2_000, 1)] {
        cases.extend([
            case(table, OURS, Server::Memory, connections, feeds),
            case(table, BROADCAST, TUTORIAL, connections, feeds),
            case(table, GRPC_GO, GO, connections, feeds).only_in_full(),
        ]);
    }
    cases.push(case(&IDLE_MANY, OURS, Server::Memory, 1_000, 100).only_in_full());
    cases
}

fn readers(scale: &Scale) -> Vec<Case> {
    // The same total work for 1 reader as for 64.
    let case = |subject, server, lists: u64, readers: u64| {
        let case = Case::new(&READERS, subject, server, "readers").fill(scale.read);
        case.with("connections", 8).with("lists", lists).with("readers", readers)
    };
    vec![
        case(ONE_READER, Server::Memory, 256, 1),
        case(READERS_64, Server::Memory, 256, 64),
        case("tonic, async_stream, 1 reader", TUTORIAL, 64, 1).only_in_full(),
        case("tonic, async_stream, 64 readers", TUTORIAL, 64, 64).only_in_full(),
    ]
}

/// Each load on the default server, on one with less, and on one with everything.
fn chain(scale: &Scale) -> Vec<Case> {
    let servers = [(BARE, Server::Bare), (OURS, Server::Memory), (WHOLE, Server::Whole)];
    let lists = servers.map(|(subject, server)| {
        let case = Case::new(&CHAIN_LIST, subject, server, "list").fill(scale.posts);
        case.with("lists", scale.listed / scale.posts)
    });
    let calls = servers.map(|(subject, server)| {
        let case = Case::new(&CHAIN_UNARY, subject, server, "unary");
        case.fill(10 * crate::posts::USERS).with("count", scale.calls)
    });
    let feeds = servers.map(|(subject, server)| {
        let case = Case::new(&CHAIN_FEED, subject, server, "feed").with("subscribers", 100);
        case.with("count", scale.deliveries / 100)
    });
    [lists, calls, feeds].into_iter().flatten().collect()
}
