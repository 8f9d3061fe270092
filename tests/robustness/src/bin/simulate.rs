//! `simulate`: runs seeds, checks their histories, and reports what broke.

use std::{
    collections::BTreeMap,
    io::Write as _,
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use clap::{Parser, ValueEnum as _};
use quartet_check::{
    Broken, History, check,
    history::{FaultCount, Run},
    void,
};
use quartet_client::command::{rust_log, terminal::shows_progress};
use quartet_robustness::{
    report::{print, save},
    simulation::{self, Bug, Failed},
};
use tracing_subscriber::filter::Targets;

/// Runs Quartet in a simulated world, once for each seed, and checks every promise.
///
/// A seed is a run: the same seed gives the same history. The history of a run that broke a promise
/// is saved, for `quartet-check`. A run in which too little happened is void and does not count.
///
/// Exit code: 0 if every promise held and at most one run in a hundred was void, 1 otherwise.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// How many seeds to run.
    #[arg(long, default_value_t = 500, value_name = "N")]
    seeds: u64,

    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first: u64,

    /// Plant this bug.
    #[arg(long, value_name = "BUG")]
    bug: Option<Bug>,

    /// Plant every bug, one after another, and print at which seed each is found.
    #[arg(long, conflicts_with = "bug")]
    bugs: bool,

    /// Where to save histories.
    #[arg(long, default_value = "target/simulation", value_name = "DIR")]
    save: PathBuf,

    /// Save the history of every run.
    #[arg(long)]
    save_all: bool,

    /// Parallel runs [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  simulate --seeds 500
  simulate --first 42 --seeds 1 --save-all     one run, to look into
  simulate --bugs --seeds 500                  how soon each planted bug is found
  simulate --bug receipts-lost --seeds 3";

fn main() -> ExitCode {
    let cli = Cli::parse();
    rust_log::init(Targets::default());
    if cli.bugs { find_bugs(&cli) } else { run_seeds(&cli) }
}

/// Runs seeds in parallel and passes on the results, until `take` has seen enough.
fn each_seed(
    cli: &Cli,
    bug: Option<Bug>,
    mut take: impl FnMut(u64, Result<History, Failed>) -> ControlFlow<()>,
) {
    let jobs = cli.jobs.or_else(|| thread::available_parallelism().ok().map(Into::into));
    let (next, end) = (AtomicU64::new(cli.first), cli.first + cli.seeds);
    thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(1);
        for _ in 0..jobs.unwrap_or(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let wanted = seed < end;
                    if !wanted || sender.send((seed, simulated(seed, bug))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, result) in results {
            if take(seed, result).is_break() {
                next.store(end, Ordering::Relaxed);
                break;
            }
        }
    });
}

/// A run on its own thread, so that its thread-locals end with it.
fn simulated(seed: u64, bug: Option<Bug>) -> Result<History, Failed> {
    let run = thread::spawn(move || simulation::run(seed, bug));
    let panicked = |_| {
        let run = Run { seed, ..Run::default() };
        let history = Box::new(History { run, ..History::default() });
        Err(Failed { why: "the run panicked".to_owned(), history })
    };
    run.join().unwrap_or_else(panicked)
}

fn run_seeds(cli: &Cli) -> ExitCode {
    let started = Instant::now();
    let mut totals = Totals::default();
    each_seed(cli, cli.bug, |seed, result| {
        totals.take(seed, result, cli);
        totals.show_progress(cli.seeds);
        ControlFlow::Continue(())
    });
    totals.report(started.elapsed().as_secs_f64());
    let too_many_void = totals.void * 100 > totals.runs;
    ExitCode::from(u8::from(totals.failed > 0 || too_many_void))
}

/// Looks for each planted bug.
fn find_bugs(cli: &Cli) -> ExitCode {
    let mut missed = 0;
    print("bug | found by | after seeds");
    for bug in Bug::value_variants() {
        let (mut seeds, mut found) = (0, None);
        each_seed(cli, Some(*bug), |seed, result| {
            seeds += 1;
            let broken = result.map(|history| check(&history)).unwrap_or_default();
            if broken.iter().any(|broken| broken.promise == bug.breaks()) {
                found = Some(seed);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let (name, promise) = (bug.name(), bug.breaks());
        match found {
            Some(seed) => print(&format!("{name} | {promise} | {seeds} (seed {seed})")),
            None => print(&format!("{name} | {promise} | NOT FOUND in {seeds}")),
        }
        missed += u8::from(found.is_none());
    }
    ExitCode::from(missed.min(1))
}

/// The results of all runs.
#[derive(Default)]
struct Totals {
    runs: u64,
    void: u64,
    failed: u64,
    events: u64,
    posts: u64,
    faults: BTreeMap<String, FaultCount>,
    broken: BTreeMap<String, u64>,
}

impl Totals {
    fn take(&mut self, seed: u64, result: Result<History, Failed>, cli: &Cli) {
        self.runs += 1;
        let history = match result {
            Ok(history) => history,
            Err(Failed { why, history }) => {
                self.failed += 1;
                print(&format!("seed {seed}: {why}"));
                return save(&cli.save, &history);
            }
        };
        self.count(&history);
        let (broken, void) = (check(&history), void(&history));
        if !broken.is_empty() {
            self.failed += 1;
            self.note_broken(seed, &broken);
        } else if let Some(why) = &void {
            self.void += 1;
            print(&format!("seed {seed}: void: {why}"));
        }
        if cli.save_all || !broken.is_empty() || void.is_some() {
            save(&cli.save, &history);
        }
    }

    fn count(&mut self, history: &History) {
        self.events += history.events.len() as u64;
        self.posts += history.log.len() as u64;
        for (kind, fault) in &history.run.faults {
            let total = self.faults.entry(kind.clone()).or_default();
            total.armed += fault.armed;
            total.fired += fault.fired;
        }
    }

    fn note_broken(&mut self, seed: u64, broken: &[Broken]) {
        for broken in broken {
            *self.broken.entry(broken.promise.to_string()).or_default() += 1;
        }
        clear_progress();
        for broken in broken.iter().take(5) {
            print(&format!("seed {seed}: {broken}"));
        }
    }

    fn show_progress(&self, seeds: u64) {
        if shows_progress() {
            let _ = write!(std::io::stderr(), "{CLEAR}{} of {seeds} seeds", self.runs);
        }
    }

    fn report(&self, seconds: f64) {
        clear_progress();
        let rate = self.runs as f64 / seconds;
        let Self { runs, events, posts, void, failed, .. } = self;
        print(&format!("{runs} seeds in {seconds:.0} s, {rate:.1} a second"));
        print(&format!("{events} events, {posts} posts, {void} void, {failed} failed"));
        for (kind, fault) in &self.faults {
            print(&format!("{:>6} of {:>6} {kind}", fault.fired, fault.armed));
        }
        for (promise, count) in &self.broken {
            print(&format!("{count:>6} × {promise} BROKEN"));
        }
    }
}

/// Erases the line of a terminal.
const CLEAR: &str = "\r\x1b[K";

/// Removes the progress, so that the next line stands alone.
fn clear_progress() {
    if shows_progress() {
        let _ = write!(std::io::stderr(), "{CLEAR}");
    }
}
