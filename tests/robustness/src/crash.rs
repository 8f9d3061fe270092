//! Runs over real processes: a server is killed, loses power or meets a failing disk, cycle after
//! cycle, while clients write and read. The result is a history.
//!
//! The server is the program `server`. For a fault at a certain operation it is `failing-server`,
//! the same library over a disk that fails there ([`failing`]). Power is cut on a separate file
//! system ([`volume`]). All clients run on one thread, and nothing else does, so that the record's
//! order is sound.
//!
//! Not reproducible: the seed chooses the actions, but the machine chooses their times. Look at the
//! history instead.

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    ops::RangeInclusive,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ValueEnum as _;
use futures::StreamExt as _;
use quartet::{
    post::v1::{ListPostsRequest, LogPosition},
    reason,
};
use quartet_channel::backoff::Exponential;
use quartet_check::{
    History,
    history::{FaultCount, Floor, Post, Run},
    promises::CATCH_UP,
};
use quartet_client::{Channel, ListEvent, connect, list_posts};
use quartet_log::{EmbeddedLog, LogOptions, PostLog as _, disk::Access};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    process::{Process, free_address, until},
    recorder::Recorder,
    stored,
    workload::{self, Setting},
};
use failing::Fault;

use volume::Volume;

pub mod failing;

pub mod volume;

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of everything random.
    pub seed: u64,
    /// How often a server is started and brought down.
    pub cycles: usize,
    /// The program `server`.
    pub server: PathBuf,
    /// The program `failing-server`.
    pub failing_server: PathBuf,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The history, for the checker.
    pub history: History,
    /// The start-up times of the servers, until they accepted calls.
    pub starts: Vec<Duration>,
    /// Failures other than broken promises.
    pub wrong: Vec<String>,
}

/// How long a server may take to start.
const START: Duration = Duration::from_secs(2);
/// How long a fault may take to happen: clients write many times a second.
const DUE: Duration = Duration::from_secs(20);
/// The `nth` commit at which a fault happens: while clients reconnect, or while all of them write.
const COMMITS: RangeInclusive<u64> = 1..=25;
/// Operations that change the disk when a log opens: create, write, sync, rename and sync the
/// directory.
const OPENING: RangeInclusive<u64> = 1..=5;

/// Events between the start of a server and its end: fewer prove little, even on a fast machine.
const BUSY: u64 = 150;

/// The line that a server logs when its log has failed.
const FAILED: &str = "the log takes no more posts";

/// How a server is brought down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    /// Killed from outside, at a random moment.
    Kill,
    /// By a failing disk.
    Failing(Fault),
    /// By a shutdown of its file system without flushing.
    PowerLoss,
    /// By a full file system.
    FullDisk,
}

impl Crash {
    const ON_A_DIRECTORY: [Crash; 10] = [
        Crash::Kill,
        Crash::Kill,
        Crash::Failing(Fault::BeforeCommit),
        Crash::Failing(Fault::TornCommit),
        Crash::Failing(Fault::InCommit),
        Crash::Failing(Fault::AfterCommit),
        Crash::Failing(Fault::StartUp),
        Crash::Failing(Fault::WriteError),
        Crash::Failing(Fault::SyncError),
        Crash::Failing(Fault::Full),
    ];
    const ON_A_FILE_SYSTEM: [Crash; 5] =
        [Crash::PowerLoss, Crash::PowerLoss, Crash::PowerLoss, Crash::PowerLoss, Crash::FullDisk];

    /// This many crashes: rounds of all kinds, each in another order.
    fn some(cycles: usize, volume: &Volume, rng: &mut StdRng) -> Vec<Self> {
        let mut crashes = Vec::new();
        while crashes.len() < cycles {
            let mut round = match volume.file_system() {
                None => Self::ON_A_DIRECTORY.to_vec(),
                Some(_) => Self::ON_A_FILE_SYSTEM.to_vec(),
            };
            round.shuffle(rng);
            crashes.append(&mut round);
        }
        crashes.truncate(cycles);
        crashes
    }

    /// Its name in reports.
    fn name(self) -> &'static str {
        match self {
            Crash::Kill => "killed at a random moment",
            Crash::Failing(Fault::BeforeCommit) => "killed before a commit",
            Crash::Failing(Fault::TornCommit) => "killed half-way through a write",
            Crash::Failing(Fault::InCommit) => "killed between write and fsync",
            Crash::Failing(Fault::AfterCommit) => "killed between commit and answer",
            Crash::Failing(Fault::StartUp) => "killed in start-up",
            Crash::Failing(Fault::WriteError) => "failed write",
            Crash::Failing(Fault::SyncError) => "failed fsync",
            Crash::Failing(Fault::Full) => "failed write for lack of room",
            Crash::PowerLoss => "power loss",
            Crash::FullDisk => "full disk",
        }
    }
}

/// Carries out a plan with a log on this volume.
///
/// Call it on a runtime with one thread that runs nothing else meanwhile.
///
/// # Errors
/// A program is missing. Later failures are in the outcome.
pub async fn run(plan: &Plan, volume: Volume) -> Result<Outcome, Box<dyn Error>> {
    let begun = Instant::now();
    let recorder = Recorder::new(move || begun.elapsed());
    let calm = CancellationToken::new();
    let mut driver = Driver::new(plan, volume, recorder.clone(), calm.clone())?;
    let endpoint = driver.endpoint();
    let setting = Setting {
        seed: plan.seed,
        recorder: recorder.clone(),
        connect: Arc::new(move || {
            // Servers restart at once here, so clients should reconnect at once too.
            let backoff = Exponential::new(Duration::from_millis(100), Duration::from_secs(1), 1.6);
            let target = endpoint.parse().expect("invariant: it is a URL");
            Channel::builder(target).connect_backoff(backoff).build()
        }),
        calm,
        before: Arc::default(),
    };
    let clients =
        [workload::writers(&setting), workload::readers(&setting), workload::feeds(&setting)];
    let clients = workload::run(clients.into_iter().flatten().collect());
    let played = tokio::select! {
        biased;
        played = driver.play() => played,
        () = clients => Err("the clients ended".into()),
    };
    let calm_from = match played {
        Ok(calm_from) => Some(calm_from.duration_since(begun).as_micros() as u64),
        Err(error) => {
            driver.wrong.push(error.to_string());
            None
        }
    };
    Ok(driver.end(calm_from).await)
}

/// Brings servers down and up again.
struct Driver<'a> {
    plan: &'a Plan,
    volume: Volume,
    /// The address of all servers, one after another.
    address: SocketAddr,
    recorder: Recorder,
    calm: CancellationToken,
    rng: StdRng,
    faults: BTreeMap<String, FaultCount>,
    starts: Vec<Duration>,
    wrong: Vec<String>,
}

impl<'a> Driver<'a> {
    fn new(
        plan: &'a Plan,
        volume: Volume,
        recorder: Recorder,
        calm: CancellationToken,
    ) -> Result<Self, Box<dyn Error>> {
        for program in [&plan.server, &plan.failing_server] {
            if !program.is_file() {
                let build = "cargo build --workspace --all-targets";
                return Err(format!("there is no {}: run `{build}`", program.display()).into());
            }
        }
        Ok(Self {
            plan,
            volume,
            address: free_address()?,
            recorder,
            calm,
            rng: StdRng::seed_from_u64(plan.seed),
            faults: BTreeMap::new(),
            starts: Vec::new(),
            wrong: Vec::new(),
        })
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All cycles, then a calm time. Returns when the calm began.
    async fn play(&mut self) -> Result<Instant, Box<dyn Error>> {
        for crash in Crash::some(self.plan.cycles, &self.volume, &mut self.rng) {
            let fired = self.bring_down(crash).await?;
            let count = self.faults.entry(crash.name().to_owned()).or_default();
            count.armed += 1;
            count.fired += u64::from(fired);
        }
        let server = self.serve().await?;
        let calm_from = self.calm_down().await;
        server.stop().await?;
        Ok(calm_from)
    }

    /// Starts a server and brings it down. Returns whether it went down as planned, and while
    /// serving.
    async fn bring_down(&mut self, crash: Crash) -> Result<bool, Box<dyn Error>> {
        match crash {
            Crash::Kill => self.kill().await,
            Crash::Failing(Fault::StartUp) => {
                let nth = self.rng.random_range(OPENING);
                let mut server = self.spawn(self.failing_server(Fault::StartUp, nth))?;
                Ok(server.killed().await?)
            }
            Crash::Failing(fault @ (Fault::WriteError | Fault::SyncError)) => {
                self.fail(fault, reason::LOG_UNAVAILABLE).await
            }
            Crash::Failing(Fault::Full) => self.fail(Fault::Full, reason::LOG_FULL).await,
            Crash::Failing(fault) => Ok(self.serve_failing(fault).await?.killed().await?),
            Crash::PowerLoss => self.lose_power().await,
            Crash::FullDisk => self.fill_disk().await,
        }
    }

    async fn kill(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut server = self.serve().await?;
        let busy = self.until_busy().await;
        Ok(server.kill().await? && busy)
    }

    /// Serves on a failing disk until clients receive the error.
    async fn fail(&mut self, fault: Fault, reason: &str) -> Result<bool, Box<dyn Error>> {
        let server = self.serve_failing(fault).await?;
        self.until_noticed(server, reason).await
    }

    async fn lose_power(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut server = self.serve().await?;
        let busy = self.until_busy().await;
        // As in a real power loss, the server must not answer after it. A server that kept running
        // would acknowledge lost posts: on ext4, an fsync in progress at the shutdown may return
        // success.
        server.freeze()?;
        self.volume.cut_power().await?;
        let alive = server.kill().await?;
        self.volume.restore_power().await?;
        Ok(busy && alive)
    }

    async fn fill_disk(&mut self) -> Result<bool, Box<dyn Error>> {
        let server = self.serve().await?;
        let busy = self.until_busy().await;
        self.volume.fill()?;
        let noticed = self.until_noticed(server, reason::LOG_FULL).await?;
        self.volume.make_room()?;
        Ok(busy && noticed)
    }

    /// Waits until the log has failed and clients received the error, checks the server in that
    /// state, and kills it.
    async fn until_noticed(
        &mut self,
        mut server: Process,
        reason: &str,
    ) -> Result<bool, Box<dyn Error>> {
        // The log first: a client that stalled may only now read how its call to an earlier server
        // ended.
        let failed = until(DUE, || server.has_logged(FAILED)).await;
        let before = self.ended(reason);
        let noticed = until(DUE, || self.ended(reason) > before).await;
        if failed {
            self.check_that_it_only_reads(reason).await;
        }
        Ok(server.kill().await? && failed && noticed)
    }

    /// Checks that a failed log accepts no more posts and still serves all reads.
    async fn check_that_it_only_reads(&mut self, reason: &str) {
        let first = self.read_all().await.map_err(|error| error.to_string());
        // Writers have retried meanwhile.
        let refused = self.ended(reason) + 3;
        until(DUE, || self.ended(reason) >= refused).await;
        let last = self.read_all().await.map_err(|error| error.to_string());
        let acknowledged = self.recorder.progress().acknowledged;
        if first.is_err() || first != last || first.as_ref().is_ok_and(|head| acknowledged > *head)
        {
            self.wrong.push(format!(
                "after its disk failed, a server served posts up to {first:?}, then up to \
                 {last:?}, and {acknowledged} was acknowledged"
            ));
        }
    }

    /// Lists every post. Returns the last position.
    async fn read_all(&self) -> Result<i64, Box<dyn Error>> {
        let mut head = 0;
        let mut events = pin!(list_posts(connect(&self.endpoint())?, ListPostsRequest::default()));
        while let Some(event) = timeout(DUE, events.next()).await? {
            if let ListEvent::Batch(batch) = event? {
                head = batch.position.map_or(head, |position: LogPosition| position.sequence);
            }
        }
        Ok(head)
    }

    /// Lets every client catch up. Returns when that began.
    async fn calm_down(&self) -> Instant {
        self.calm.cancel();
        let begun = Instant::now();
        let before = self.recorder.progress();
        let caught_up = || {
            let now = self.recorder.progress();
            // Clients that were cut reconnect first, so that there is some traffic.
            now.events > before.events && now.all_at(before.acknowledged)
        };
        until(CATCH_UP + Duration::from_secs(1), caught_up).await;
        begun
    }

    /// The result of the run, with the log as it is after all processes ended.
    async fn end(mut self, calm_from: Option<u64>) -> Outcome {
        let (log_id, log) = self.read_log().await.unwrap_or_else(|error| {
            self.wrong.push(error.to_string());
            Default::default()
        });
        let cycles = self.plan.cycles as u64;
        let run = Run {
            seed: self.plan.seed,
            log_id,
            users: workload::users(),
            faults: self.faults,
            calm_from,
            floor: Floor {
                acknowledged: 10 * cycles,
                delivered: 50 * cycles,
                bookmarks: cycles,
                resumed: 2 * cycles,
                faults: cycles,
            },
        };
        let history = History { run, events: self.recorder.events(), log };
        Outcome { history, starts: self.starts, wrong: self.wrong }
    }

    /// The log's id and its posts.
    async fn read_log(&self) -> Result<(String, Vec<Post>), Box<dyn Error>> {
        if self.volume.file_system().is_some() {
            // Acknowledged posts must be on disk.
            self.volume.cut_power().await?;
            self.volume.restore_power().await?;
        }
        let options = LogOptions { access: Access::Read, ..LogOptions::default() };
        let log = EmbeddedLog::open_directory(self.volume.data(), options).await?;
        Ok((log.log_id().to_owned(), stored::posts(&log).await?))
    }

    /// Starts `server`, and waits until it accepts calls.
    async fn serve(&mut self) -> Result<Process, Box<dyn Error>> {
        let mut server = Command::new(&self.plan.server);
        server.arg("--no-seed");
        self.start(server).await
    }

    /// Starts `failing-server`, and waits until it accepts calls.
    async fn serve_failing(&mut self, fault: Fault) -> Result<Process, Box<dyn Error>> {
        let nth = self.rng.random_range(COMMITS);
        self.start(self.failing_server(fault, nth)).await
    }

    fn failing_server(&self, fault: Fault, nth: u64) -> Command {
        let mut server = Command::new(&self.plan.failing_server);
        let fault = fault.to_possible_value().expect("invariant: no fault is hidden");
        server.args(["--fault", fault.get_name(), "--nth", &nth.to_string()]);
        server
    }

    async fn start(&mut self, server: Command) -> Result<Process, Box<dyn Error>> {
        let mut process = self.spawn(server)?;
        let took = process.serving().await?;
        if took > START {
            self.wrong.push(format!("a server took {took:.2?} to start"));
        }
        self.starts.push(took);
        Ok(process)
    }

    fn spawn(&self, mut server: Command) -> Result<Process, Box<dyn Error>> {
        server.arg("--listen").arg(self.address.to_string());
        server.arg("--data").arg(self.volume.data()).env("RUST_LOG", "warn");
        Process::spawn(&mut server, &self.volume.beside("stderr"))
    }

    /// How many calls ended with this reason.
    fn ended(&self, reason: &str) -> u64 {
        self.recorder.progress().ended.get(reason).copied().unwrap_or_default()
    }

    /// Waits until the server acknowledges a new post and many events have happened, and a random
    /// time more. Returns whether that happened.
    async fn until_busy(&mut self) -> bool {
        let before = self.recorder.progress();
        let is_busy = || {
            let now = self.recorder.progress();
            now.acknowledged > before.acknowledged && now.events >= before.events + BUSY
        };
        let busy = until(DUE, is_busy).await;
        self.sleep_up_to(800).await;
        busy
    }

    /// Sleeps up to `most` milliseconds.
    async fn sleep_up_to(&mut self, most: u64) {
        sleep(Duration::from_millis(self.rng.random_range(0..=most))).await;
    }
}
