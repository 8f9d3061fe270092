//! What is compared: tables, their subjects, and how much is asked of each.

use super::{Work, toolchains::Go};

/// How much.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) rounds: usize,
    /// Posts in our log, which a list reads to the end.
    posts: u64,
    /// Posts listed in all.
    listed: u64,
    /// Posts in a log that many readers list.
    read: u64,
    calls: u64,
    uploaded: u64,
    /// Messages to 100 subscribers; a tenth of it to 1,000.
    messages: u64,
    /// Seconds that a paced feed takes.
    seconds: u64,
}

impl Scale {
    pub(super) const QUICK: Self = Self {
        rounds: 3,
        posts: 50_000,
        listed: 200_000,
        read: 10_000,
        calls: 10_000,
        uploaded: 100_000,
        messages: 4_000,
        seconds: 1,
    };
    pub(super) const FULL: Self = Self {
        rounds: 5,
        posts: 1_000_000,
        listed: 1_000_000,
        read: 100_000,
        calls: 300_000,
        uploaded: 1_000_000,
        messages: 50_000,
        seconds: 5,
    };
}

/// One comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The name of its plot.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What is counted.
    pub(super) unit: &'static str,
}

pub(super) const LIST: Table = Table {
    name: "list",
    title: "ListPosts, one stream, every post decoded and checked",
    unit: "posts",
};
pub(super) const CLIENT: Table =
    Table { name: "client", title: "Clients that read ListPosts of our server", unit: "posts" };
pub(super) const UNARY: Table = Table {
    name: "unary",
    title: "ListPostsByUserId, 10 posts, 64 calls at once on one connection",
    unit: "calls",
};
pub(super) const READERS: Table = Table {
    name: "readers",
    title: "ListPosts, many readers over 8 connections, posts counted",
    unit: "posts",
};
pub(super) const UPLOAD: Table =
    Table { name: "upload", title: "UploadPosts, distinct ids, one stream", unit: "posts" };
pub(super) const SATURATED_100: Table = Table {
    name: "feed-100-saturated",
    title: "TagFeed, 100 subscribers on 10 connections, as fast as it goes",
    unit: "deliveries",
};
pub(super) const SATURATED_1000: Table = Table {
    name: "feed-1000-saturated",
    title: "TagFeed, 1,000 subscribers on 10 connections, as fast as it goes",
    unit: "deliveries",
};
pub(super) const PACED_100: Table = Table {
    name: "feed-100-paced",
    title: "TagFeed, 100 subscribers, 2,000 messages per second",
    unit: "deliveries",
};
pub(super) const PACED_1000: Table = Table {
    name: "feed-1000-paced",
    title: "TagFeed, 1,000 subscribers, 200 messages per second",
    unit: "deliveries",
};
pub(super) const TAG: Table = Table {
    name: "feed-tag",
    title: "TagFeed, a tag that 10 feeds follow, 100 connections",
    unit: "deliveries",
};
pub(super) const IDLE_FEEDS: Table =
    Table { name: "idle-feeds", title: "10,000 idle feeds, 100 to a connection", unit: "feeds" };
pub(super) const IDLE_CONNECTIONS: Table = Table {
    name: "idle-connections",
    title: "2,000 connections with an idle feed each",
    unit: "connections",
};

// The subjects that goals name.
pub(super) const OURS: &str = "Quartet";
pub(super) const ON_DISK: &str = "Quartet, from segments";
pub(super) const ASYNC_STREAM: &str = "tonic, async_stream";
pub(super) const MPSC4: &str = "tonic, mpsc(4)";
pub(super) const TONIC: &str = "tonic";
pub(super) const BROADCAST: &str = "tonic, broadcast";
pub(super) const GRPC_GO: &str = "grpc-go";
pub(super) const NATS: &str = "NATS core";
pub(super) const RAW_TCP: &str = "limit: raw TCP";
pub(super) const RAW_APPEND: &str = "limit: append + fdatasync";
pub(super) const FAST_CLIENT: &str = "h2, borrowed decode";
pub(super) const OUR_CLIENT: &str = "quartet_client, read in place";
pub(super) const TONIC_CLIENT: &str = "tonic and prost";
pub(super) const ONE_READER: &str = "Quartet, 1 reader";
pub(super) const READERS_64: &str = "Quartet, 64 readers";
pub(super) const TAG_ALONE: &str = "Quartet, 10 feeds";
pub(super) const TAG_AMONG: &str = "Quartet, 10 of 10,000 feeds";

/// Embedded stores, in this process and with the indexes that ours has.
pub(super) const STORES: &[&str] = if cfg!(feature = "stores") { &["redb", "fjall"] } else { &[] };

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// Ours, with its log in memory.
    Memory,
    /// Ours, with its log on disk; after it was filled, a new process reads it.
    Disk,
    Peer(&'static str),
    Go,
    Nats,
    /// The load itself.
    None,
}

/// One subject of a table.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) table: &'static Table,
    pub(super) subject: &'static str,
    pub(super) server: Server,
    /// Posts that the server is given before.
    pub(super) fill: u64,
    /// The load's arguments.
    pub(super) load: Vec<String>,
}

impl Case {
    fn new(table: &'static Table, subject: &'static str, server: Server, work: &str) -> Self {
        Self { table, subject, server, fill: 0, load: vec![work.to_owned()] }
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

    pub(super) fn can_run(&self, go: &Go) -> bool {
        match self.server {
            Server::Go => go.grpc.is_some(),
            Server::Nats => go.nats.is_some(),
            _ => true,
        }
    }
}

pub(super) fn cases(work: Work, scale: &Scale) -> Vec<Case> {
    match work {
        Work::List => [lists(scale), clients(scale)].into_iter().flatten().collect(),
        Work::Unary => unary(scale),
        Work::Upload => uploads(scale),
        Work::Feed => feeds(scale),
        Work::Idle => idle(),
        Work::Readers => readers(scale),
    }
}

const TUTORIAL: Server = Server::Peer("async-stream");
/// What a peer holds at most; it lists them again and again.
const PEER_POSTS: u64 = 100_000;

fn lists(scale: &Scale) -> Vec<Case> {
    // Ours has nothing to list again: it is asked again.
    let ours = |subject, server| {
        let case = Case::new(&LIST, subject, server, "list").fill(scale.posts);
        case.with("count", scale.posts).with("lists", scale.listed / scale.posts)
    };
    let peer = |subject, server| {
        let case = Case::new(&LIST, subject, server, "list").fill(scale.posts.min(PEER_POSTS));
        case.with("count", scale.listed)
    };
    let raw = Case::new(&LIST, RAW_TCP, Server::Peer("raw-tcp"), "raw-list");
    vec![
        ours(OURS, Server::Memory),
        ours(ON_DISK, Server::Disk),
        peer(ASYNC_STREAM, TUTORIAL),
        peer("tonic, async_stream, 256 to a message", Server::Peer("async-stream-batched")),
        peer(MPSC4, Server::Peer("mpsc4")),
        peer(GRPC_GO, Server::Go),
        raw.with("posts", crate::peers::POSTS).with("count", scale.listed),
    ]
}

fn clients(scale: &Scale) -> Vec<Case> {
    let case = |subject, work| {
        let case = Case::new(&CLIENT, subject, Server::Memory, work).fill(scale.posts);
        case.with("count", scale.posts).with("lists", scale.listed / scale.posts)
    };
    vec![
        case(FAST_CLIENT, "list"),
        case(OUR_CLIENT, "client-list"),
        case(TONIC_CLIENT, "tonic-list"),
    ]
}

fn unary(scale: &Scale) -> Vec<Case> {
    let case = |subject, server| {
        let case = Case::new(&UNARY, subject, server, "unary").fill(10 * crate::posts::USERS);
        case.with("count", scale.calls)
    };
    vec![case(OURS, Server::Memory), case(TONIC, TUTORIAL), case(GRPC_GO, Server::Go)]
}

fn uploads(scale: &Scale) -> Vec<Case> {
    let case = |subject, server, work| {
        Case::new(&UPLOAD, subject, server, work).with("count", scale.uploaded)
    };
    let mut cases = vec![
        case(OURS, Server::Disk, "upload"),
        case("tonic, to a Vec", TUTORIAL, "upload"),
        case(GRPC_GO, Server::Go, "upload"),
        case(RAW_APPEND, Server::None, "append"),
    ];
    for store in STORES {
        cases.push(case(store, Server::None, "append").option("engine", store));
    }
    cases
}

fn feeds(scale: &Scale) -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, subscribers, rate, messages) in [
        (&SATURATED_100, 100, 0, scale.messages),
        (&SATURATED_1000, 1_000, 0, scale.messages / 10),
        (&PACED_100, 100, 2_000, 2_000 * scale.seconds),
        (&PACED_1000, 1_000, 200, 200 * scale.seconds),
    ] {
        let case = |subject, server, work| {
            let case = Case::new(table, subject, server, work).with("subscribers", subscribers);
            case.with("rate", rate).with("count", messages)
        };
        cases.extend([
            case(OURS, Server::Memory, "feed"),
            case(BROADCAST, TUTORIAL, "feed").lossy(),
            case(GRPC_GO, Server::Go, "feed"),
            case(NATS, Server::Nats, "nats"),
        ]);
    }
    let tag = |subject, idle| {
        let case = Case::new(&TAG, subject, Server::Memory, "feed").with("subscribers", 10);
        let case = case.with("connections", 100).with("idle", idle);
        case.with("count", scale.messages)
    };
    cases.extend([tag(TAG_ALONE, 0), tag(TAG_AMONG, 9_990)]);
    cases
}

fn idle() -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, connections, feeds) in [(&IDLE_FEEDS, 100, 100), (&IDLE_CONNECTIONS, 2_000, 1)] {
        let case = |subject, server| {
            let case = Case::new(table, subject, server, "idle");
            case.with("connections", connections).with("idle", feeds)
        };
        cases.extend([
            case(OURS, Server::Memory),
            case(BROADCAST, TUTORIAL),
            case(GRPC_GO, Server::Go),
        ]);
    }
    cases
}

fn readers(scale: &Scale) -> Vec<Case> {
    let case = |subject, server, readers: u64| {
        let case = Case::new(&READERS, subject, server, "readers").fill(scale.read);
        let case = case.with("count", scale.read).with("connections", 8);
        // The same work for one as for 64.
        case.with("lists", 64).with("readers", readers)
    };
    vec![
        case(ONE_READER, Server::Memory, 1),
        case(READERS_64, Server::Memory, 64),
        case("tonic, async_stream, 1 reader", TUTORIAL, 1),
        case("tonic, async_stream, 64 readers", TUTORIAL, 64),
    ]
}
