//! The two services, each on its own host.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use quartet::post::v1::post_service_server::PostServiceServer;
use quartet_client::Channel;
use quartet_connection::{self as connection, Routes, keepalive::EnforcementPolicy};
use quartet_log::{
    Dispatchers, EmbeddedLog, Identity, LogOptions, PostLog, RingLimits, disk::memory::MemoryDisk,
};
use quartet_server::{
    chain::Chain,
    posts::{
        authors::Authors,
        frame_cache::FrameCache,
        store::{Parts, PostStore},
    },
    server::Server,
    settings::{Role, Settings},
};
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpListener;

use super::{
    bugs::{Bug, BuggyPosts},
    network::{Cuts, SimListener, connector},
};

pub(super) const POSTS_PORT: u16 = 9001;
const USERS_PORT: u16 = 9000;

/// Small enough that readers fall out of the ring and segments are completed within a run.
const RING: RingLimits = RingLimits { posts: 24, bytes: 1 << 20 };
const SEGMENT_BYTES: u64 = 24 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The least interval between pings of clients.
const PINGS: Duration = Duration::from_secs(1);

/// The machine of the Post server: the state that outlives its process.
pub(super) struct PostServer {
    disk: Mutex<MemoryDisk>,
    seed: u64,
    pub(super) bug: Option<Bug>,
    state: Mutex<State>,
}

/// The state of the latest process.
#[derive(Debug, Clone, Default)]
pub(super) enum State {
    #[default]
    Starting,
    /// Serving until this is cancelled.
    Serving(CancellationToken),
    /// It failed to start, with this error.
    Refused(String),
    Ended,
}

impl PostServer {
    /// A machine with this disk.
    pub(super) fn new(seed: u64, bug: Option<Bug>, disk: MemoryDisk) -> Self {
        Self { disk: Mutex::new(disk), seed, bug, state: Mutex::default() }
    }

    fn identity(seed: u64) -> Identity {
        Identity { log_id: u128::from(seed) << 64 | 1, salt: u128::from(seed) }
    }

    /// The options of the log of a seed, without a bug.
    pub(super) fn options_of(seed: u64) -> LogOptions {
        LogOptions {
            identity: Self::identity(seed),
            segment_bytes: SEGMENT_BYTES,
            ring: RING,
            ..LogOptions::default()
        }
    }

    pub(super) fn log_id(&self) -> String {
        format!("{:032x}", Self::identity(self.seed).log_id)
    }

    pub(super) fn options(&self) -> LogOptions {
        Bug::options(self.bug, Self::options_of(self.seed))
    }

    pub(super) fn disk(&self) -> MemoryDisk {
        self.disk.lock().clone()
    }

    pub(super) fn replace_disk(&self, disk: MemoryDisk) {
        *self.disk.lock() = disk;
    }

    pub(super) fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(*self.state.lock(), State::Serving(_))
    }

    pub(super) fn set(&self, state: State) {
        *self.state.lock() = state;
    }
}

/// Runs the Post service until it is stopped, fails to start, or is crashed.
pub(super) async fn serve_posts(machine: Arc<PostServer>) -> turmoil::Result {
    machine.set(State::Starting);
    let disk = Bug::disk(machine.bug, machine.disk());
    let log = match EmbeddedLog::open(disk, machine.options()).await {
        Ok(log) => Bug::log(machine.bug, Arc::new(log)),
        Err(error) => {
            machine.set(State::Refused(error.to_string()));
            return Ok(());
        }
    };
    let listener = SimListener(TcpListener::bind(("0.0.0.0", POSTS_PORT)).await?);
    let users = connector("users", USERS_PORT, Cuts::default())();
    let stop = CancellationToken::new();
    machine.set(State::Serving(stop.clone()));
    match machine.bug {
        None => {
            let server = Server::of_posts(log, users, now, settings());
            // The error of a failed log was reported to clients before.
            let _ = server.serve(listener, stop.cancelled_owned()).await;
        }
        Some(bug) => serve_buggy(bug, log, users, listener, stop).await,
    }
    machine.set(State::Ended);
    Ok(())
}

/// Runs the same service behind a bug.
async fn serve_buggy(
    bug: Bug,
    log: Arc<dyn PostLog>,
    users: Channel,
    listener: SimListener,
    stop: CancellationToken,
) {
    let (dispatchers, authors) = (Dispatchers::new(&log, 1), Authors::new(users));
    let frames = FrameCache::new(1);
    let dispatching = dispatchers.clone();
    let posts =
        PostStore::new(Parts { log, dispatchers: dispatching, authors, frames, clock: now });
    let routes = Routes::new(PostServiceServer::new(BuggyPosts { posts, bug }));
    let service = Chain::default().around(routes);
    let ended = CancellationToken::new();
    let settings = settings().connections;
    let connections = async {
        connection::serve(listener, service, settings, stop).await;
        ended.cancel();
    };
    tokio::join!(connections, dispatchers.here().clone().run(ended.clone()));
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.connections.drain_timeout = DRAIN_TIMEOUT;
    settings.connections.enforcement =
        EnforcementPolicy { min_time: PINGS, permit_without_stream: true };
    settings
}

/// Runs the User service.
pub(super) async fn serve_users() -> turmoil::Result {
    let listener = SimListener(TcpListener::bind(("0.0.0.0", USERS_PORT)).await?);
    let config = Settings { serve: vec![Role::User], ..settings() };
    Server::open(config).await?.serve(listener, pending()).await?;
    Ok(())
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + turmoil::since_epoch().unwrap_or_default()
}
