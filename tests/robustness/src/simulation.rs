//! A run in a simulated world: a seed in, a history out.
//!
//! The server (accept loop, HTTP/2, services, cursors, log) and the clients are the real ones. The
//! network is turmoil's, the disk is `MemoryDisk`, and time passes when nobody has anything left to
//! do. Everything random is drawn from the seed, nothing runs on another thread, and every
//! `select!` of ours has an order, so that a seed is a run: the same history, again and again.
//!
//! Not simulated: threads beside each other, the kernel, and what TCP does about lost packets (here
//! a lost packet is a connection that went silent).

use std::{error::Error, sync::Arc, time::Duration};

use quartet_check::{
    History,
    history::{Floor, Post, Run},
    promises::CATCH_UP,
};
use quartet_log::{
    EmbeddedLog, LogError, LogOptions, OpenError,
    disk::{Access, memory::MemoryDisk},
};
use rand::RngExt as _;

use crate::{stored, workload};
pub use bugs::Bug;
pub use faults::Fault;
use world::World;

mod bugs;
mod faults;
mod network;
mod servers;
mod world;

/// What a run must have done to count.
const FLOOR: Floor =
    Floor { acknowledged: 40, delivered: 100, bookmarks: 3, resumed: 3, faults: 2 };

/// A run that went wrong in another way than by breaking a promise.
#[derive(Debug)]
pub struct Failed {
    /// How.
    pub why: String,
    /// What had happened, if not what was stored.
    pub history: Box<History>,
}

/// Runs a seed, with a bug planted or without, and returns what happened.
///
/// Call it on a thread that runs nothing else meanwhile.
///
/// # Errors
/// A part of the world that ended when it should not have, or the log that could not be read in the
/// end. If promises are broken too, they say more, and the history is returned.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<History, Failed> {
    fastrand::seed(seed);
    let mut world = World::new(seed, bug);
    let calm_from = world.play();
    let (history, log) = world.end(calm_from.as_ref().ok().copied());
    match calm_from.map(drop).and(log) {
        Err(why) if quartet_check::check(&history).is_empty() => {
            Err(Failed { why: why.to_string(), history: Box::new(history) })
        }
        _ => Ok(history),
    }
}

impl World {
    /// Faults, then calm. Returns when that began, in microseconds.
    fn play(&mut self) -> Result<u64, Box<dyn Error>> {
        self.break_things()?;
        self.calm_down()
    }

    /// What happened, and whether the log could be read. The end is a power cut too: what was told
    /// must have been on disk.
    fn end(self, calm_from: Option<u64>) -> (History, Result<(), Box<dyn Error>>) {
        let World { seed, sim, posts, recorder, mut rng, faults, .. } = self;
        drop(sim);
        let run = Run {
            seed,
            log_id: posts.log_id(),
            users: workload::users(),
            faults,
            calm_from,
            floor: FLOOR,
        };
        let mut history = History { run, events: recorder.events(), log: Vec::new() };
        let read = read_log(posts.disk().crash(&mut rng), posts.options());
        let read = read.map(|log| history.log = log);
        (history, read)
    }

    /// A few faults, one after another.
    fn break_things(&mut self) -> turmoil::Result {
        self.pass_up_to(500, 2000)?;
        for _ in 0..self.rng.random_range(2..=4) {
            let fault = Fault::any(&mut self.rng);
            self.inject(fault)?;
            self.pass_up_to(300, 2000)?;
        }
        Ok(())
    }

    /// Lets everybody catch up. Returns when that began, in microseconds.
    fn calm_down(&mut self) -> Result<u64, Box<dyn Error>> {
        self.calm.cancel();
        let begun = self.sim.elapsed();
        let acknowledged = self.recorder.progress().acknowledged;
        let caught_up = |it: &mut Self| it.recorder.progress().all_at(acknowledged);
        self.pass(Duration::from_secs(1))?;
        self.pass_until(CATCH_UP + Duration::from_secs(1), caught_up)?;
        Ok(begun.as_micros() as u64)
    }
}

/// Reads what a log holds, in a process that only reads it. Nothing, if there is none, or if it is
/// damaged: then what was told is missing.
fn read_log(disk: MemoryDisk, options: LogOptions) -> Result<Vec<Post>, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = LogOptions { access: Access::Read, ..options };
        match EmbeddedLog::open(Arc::new(disk), options).await {
            Ok(log) => stored::posts(&log).await,
            Err(OpenError::NoLog { .. } | OpenError::Log(LogError::Damaged { .. })) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    })
}
