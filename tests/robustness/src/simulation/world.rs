//! The simulated world: hosts, network, time and clients.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::LocalBoxFuture;
use quartet_check::history::FaultCount;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use super::{
    bugs::Bug,
    network::{self, Cuts},
    restored::Restored,
    servers::{self, PostServer},
};
use crate::{
    recorder::Recorder,
    workload::{self, Setting},
};

/// How much time passes between two looks at the network. Smaller is finer and slower.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// What a message takes on its way.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));
/// Where the clients are. The network between one of these and the servers breaks as a whole.
pub(super) const GROUPS: [&str; 3] = ["writers", "readers", "feeds"];

/// A world, while it runs.
pub(super) struct Simulation {
    pub(super) seed: u64,
    pub(super) sim: turmoil::Sim<'static>,
    pub(super) rng: StdRng,
    pub(super) posts: Arc<PostServer>,
    pub(super) cuts: BTreeMap<&'static str, Cuts>,
    pub(super) recorder: Recorder,
    pub(super) calm: CancellationToken,
    pub(super) faults: BTreeMap<String, FaultCount>,
}

impl Simulation {
    /// A world whose log was restored from a copy.
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Result<Self, Box<dyn Error>> {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(LATENCY.0)
            .max_message_latency(LATENCY.1)
            .simulation_duration(Duration::MAX)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
            .tcp_capacity(64)
            .build();
        let recorder = Recorder::new(|| turmoil::sim_elapsed().unwrap_or_default());
        let calm = CancellationToken::new();
        let mut rng = StdRng::seed_from_u64(seed);
        let restored = Restored::new(PostServer::options_of(seed), &mut rng)?;
        restored.record(&recorder);
        let posts = Arc::new(PostServer::new(seed, bug, restored.disk));
        sim.host("users", servers::serve_users);
        let serve = posts.clone();
        sim.host("posts", move || servers::serve_posts(serve.clone()));
        let mut cuts = BTreeMap::new();
        for group in GROUPS {
            let cut = Cuts::default();
            let connect = network::connector("posts", servers::POSTS_PORT, cut.clone());
            let setting = Setting {
                seed,
                recorder: recorder.clone(),
                connect: Arc::new(connect),
                calm: calm.clone(),
                before: restored.positions.clone(),
            };
            cuts.insert(group, cut);
            sim.client(group, async move {
                workload::run(clients(group, &setting)).await;
                Ok(())
            });
        }
        Ok(Self { seed, sim, rng, posts, cuts, recorder, calm, faults: BTreeMap::new() })
    }

    /// Lets so much time pass.
    pub(super) fn pass(&mut self, time: Duration) -> turmoil::Result {
        self.pass_until(time, |_| false).map(drop)
    }

    /// Lets a random time pass, in milliseconds.
    pub(super) fn pass_up_to(&mut self, least: u64, most: u64) -> turmoil::Result {
        let time = Duration::from_millis(self.rng.random_range(least..=most));
        self.pass(time)
    }

    /// Lets time pass until something happens, at most so much. Returns whether it happened.
    pub(super) fn pass_until(
        &mut self,
        most: Duration,
        mut happened: impl FnMut(&mut Self) -> bool,
    ) -> Result<bool, Box<dyn Error>> {
        let end = self.sim.elapsed() + most;
        while self.sim.elapsed() < end {
            if happened(self) {
                return Ok(true);
            }
            self.sim.step()?;
        }
        Ok(happened(self))
    }
}

fn clients(group: &str, setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    match group {
        "writers" => workload::writers(setting),
        "readers" => workload::readers(setting),
        _ => workload::feeds(setting),
    }
}
