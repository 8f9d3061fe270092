//! A run in a simulated world: takes a seed, returns a history.
//!
//! The server (accept loop, HTTP/2, services, cursors, log) and the clients are the real ones. The
//! network is turmoil's, the disk is `MemoryDisk`, and time passes when every task waits.
//! Everything random is drawn from the seed, everything runs on one thread, and every `select!` of
//! this workspace is biased. So a seed is a run: it gives the same history each time.
//!
//! Not simulated: parallel threads, the kernel, and TCP's handling of lost packets (here a lost
//! packet makes a connection silent).

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

pub use bugs::Bug;
pub use faults::Fault;

use crate::{stored, workload};
use world::Simulation;

mod bugs;
mod faults;
mod network;
mod restored;
mod servers;
mod world;

/// What a run must have done to count.
const FLOOR: Floor =
    Floor { acknowledged: 40, delivered: 100, bookmarks: 3, resumed: 3, faults: 2 };

/// A run that went wrong in another way than by breaking a promise.
#[derive(Debug)]
pub struct Failed {
    /// Why it failed.
    pub why: String,
    /// The events so far; without the posts of the log.
    pub history: Box<History>,
}

/// Runs a seed, optionally with a planted bug, and returns its history.
///
/// Call it on a thread that runs nothing else meanwhile.
///
/// # Errors
/// A part of the world ended early, or the log could not be read in the end. If promises are broken
/// too, they say more, and the history is returned.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<History, Failed> {
    fastrand::seed(seed);
    let mut simulation = Simulation::new(seed, bug).map_err(|error| {
        let (why, history) = (error.to_string(), Box::default());
        Failed { why, history }
    })?;
    let calm_from = simulation.play();
    let (history, log) = simulation.end(calm_from.as_ref().ok().copied());
    match calm_from.map(drop).and(log) {
        Err(why) if quartet_check::check(&history).is_empty() => {
            Err(Failed { why: why.to_string(), history: Box::new(history) })
        }
        _ => Ok(history),
    }
}

impl Simulation {
    /// Faults, then calm. Returns when that began, in microseconds.
    fn play(&mut self) -> Result<u64, Box<dyn Error>> {
        self.break_things()?;
        self.calm_down()
    }

    /// The history, and whether the log could be read. The end is a power cut too: whatever was
    /// acknowledged must be on disk.
    fn end(self, calm_from: Option<u64>) -> (History, Result<(), Box<dyn Error>>) {
        let Simulation { seed, sim, posts, recorder, mut rng, faults, .. } = self;
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

    /// Lets every client catch up. Returns when that began, in microseconds.
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

/// Reads the content of a log in read-only mode. A log that is missing or damaged counts as empty:
/// then acknowledged posts are missing.
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
