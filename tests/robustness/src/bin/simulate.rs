//! `simulate`: runs seeds, checks what happened, and says what broke.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use clap::Parser;
use quartet_check::{Broken, History, check, history::Fault, void};
use quartet_robustness::simulation;

/// Runs Quartet in a simulated world, once for each seed, and checks every promise.
///
/// A seed is a run: the same seed gives the same history. The histories of runs that broke a promise are saved, for
/// `quartet-check`.
#[derive(Debug, Parser)]
#[command(version, after_help = "Examples:\n  simulate --seeds 500\n  simulate --first 42 --seeds 1 --save-all")]
struct Cli {
    /// How many seeds to run.
    #[arg(long, default_value_t = 500, value_name = "N")]
    seeds: u64,

    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first: u64,

    /// Where histories are saved.
    #[arg(long, default_value = "target/simulation", value_name = "DIR")]
    save: PathBuf,

    /// Save the history of every run.
    #[arg(long)]
    save_all: bool,

    /// Runs beside each other; by default, one for each core.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// What became of a seed.
struct Done {
    seed: u64,
    result: Result<History, String>,
}

/// What became of all.
#[derive(Default)]
struct Totals {
    runs: u64,
    void: u64,
    failed: u64,
    events: u64,
    posts: u64,
    faults: BTreeMap<String, Fault>,
    broken: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let started = Instant::now();
    let mut totals = Totals::default();
    let jobs = cli.jobs.or_else(|| thread::available_parallelism().ok().map(Into::into));
    let next = AtomicU64::new(cli.first);
    thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(1);
        for _ in 0..jobs.unwrap_or(1) {
            let (sender, next, cli) = (sender.clone(), &next, &cli);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= cli.first + cli.seeds {
                        return;
                    }
                    let result = simulation::run(seed, None).map_err(|error| error.to_string());
                    if sender.send(Done { seed, result }).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for done in results {
            totals.take(done, &cli);
        }
    });
    totals.report(started.elapsed().as_secs_f64());
    ExitCode::from(u8::from(totals.failed > 0 || totals.runs == totals.void))
}

impl Totals {
    fn take(&mut self, Done { seed, result }: Done, cli: &Cli) {
        self.runs += 1;
        let history = match result {
            Ok(history) => history,
            Err(error) => {
                self.failed += 1;
                print(&format!("seed {seed}: {error}"));
                return;
            }
        };
        self.events += history.events.len() as u64;
        self.posts += history.log.len() as u64;
        for (kind, fault) in &history.run.faults {
            let total = self.faults.entry(kind.clone()).or_default();
            total.armed += fault.armed;
            total.fired += fault.fired;
        }
        let broken = check(&history);
        if !broken.is_empty() {
            self.failed += 1;
            self.note_broken(seed, &broken);
        } else if let Some(why) = void(&history) {
            self.void += 1;
            print(&format!("seed {seed}: void: {why}"));
        }
        if cli.save_all || !broken.is_empty() {
            save(cli, seed, &history);
        }
    }

    fn note_broken(&mut self, seed: u64, broken: &[Broken]) {
        for broken in broken {
            *self.broken.entry(broken.promise.to_string()).or_default() += 1;
        }
        for broken in broken.iter().take(5) {
            print(&format!("seed {seed}: {broken}"));
        }
    }

    fn report(&self, seconds: f64) {
        print(&format!(
            "{} seeds in {seconds:.0} s ({:.1} a second): {} events, {} posts, {} void, {} failed",
            self.runs,
            self.runs as f64 / seconds,
            self.events,
            self.posts,
            self.void,
            self.failed,
        ));
        for (kind, fault) in &self.faults {
            print(&format!("{:>6} of {:>6} {kind}", fault.fired, fault.armed));
        }
        for (promise, count) in &self.broken {
            print(&format!("{count:>6} × {promise} BROKEN"));
        }
    }
}

fn save(cli: &Cli, seed: u64, history: &History) {
    let path = cli.save.join(format!("history.{seed}.jsonl"));
    let saved = std::fs::create_dir_all(&cli.save)
        .and_then(|()| std::fs::write(&path, history.to_lines()));
    match saved {
        Ok(()) => print(&format!("seed {seed}: saved as {}", path.display())),
        Err(error) => print(&format!("seed {seed}: cannot save {}: {error}", path.display())),
    }
}

fn print(line: &str) {
    // Nobody reads it any more; the exit code still says what happened.
    let _ = writeln!(std::io::stdout(), "{line}");
}
