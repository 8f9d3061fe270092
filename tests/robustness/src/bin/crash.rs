//! `crash`: crashes servers, checks the history, and reports what broke.

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use quartet_check::{check, void};
use quartet_client::command::rust_log;
use quartet_robustness::{
    crash::{
        Outcome, Plan, run,
        volume::{FileSystem, Volume, in_a_namespace},
    },
    report::{print, save},
};
use tracing_subscriber::filter::Targets;

/// Runs real Quartet servers that are killed, lose power and meet failing disks, and checks every
/// promise.
///
/// Clients write and read all the while. A seed chooses the actions, the machine chooses their
/// times, so a run cannot be repeated; the history of a run that broke a promise is saved, for
/// `quartet-check`.
///
/// Exit code: 0 if every promise was kept, or if the run was skipped (with a message) because the
/// machine lacks something; 1 otherwise.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// How often a server is brought down. Ten cycles cover each kind once, five with --power.
    #[arg(long, default_value_t = 10, value_name = "N")]
    cycles: usize,

    /// The seed of everything random [default: another one each time].
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,

    /// The server to test [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,

    /// Where to save the history if a promise was broken.
    #[arg(long, default_value = "target/crash", value_name = "DIR")]
    save: PathBuf,

    /// Put the log on a separate file system, cut its power and fill it. Needs root, loop devices
    /// and `xfs_io` of xfsprogs.
    #[arg(long, value_name = "FILE SYSTEM")]
    power: Option<FileSystem>,

    /// Set when this process runs in its own mount namespace.
    #[arg(long, hide = true)]
    in_namespace: bool,
}

const EXAMPLES: &str = "\
Examples:
  crash --cycles 100
  sudo crash --power xfs";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    rust_log::init(Targets::default());
    let volume = match cli.power {
        None => Volume::directory().map_err(Into::into),
        Some(file_system) if cli.in_namespace => Volume::of(file_system).await,
        Some(_) => {
            let arguments = env::args_os().skip(1).chain(["--in-namespace".into()]);
            Err(in_a_namespace(arguments).await)
        }
    };
    match (volume, cli.power) {
        (Ok(volume), _) => crash(&cli, volume).await,
        (Err(error), Some(file_system)) => {
            print(&format!("skipped: power loss on {file_system} ({error})"));
            ExitCode::SUCCESS
        }
        (Err(error), None) => failed(&*error),
    }
}

async fn crash(cli: &Cli, volume: Volume) -> ExitCode {
    let seed = cli.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    let begun = Instant::now();
    let outcome = match plan(cli, seed) {
        Ok(plan) => run(&plan, volume).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(outcome) => report(cli, &outcome, begun.elapsed()),
        Err(error) => failed(&*error),
    }
}

fn plan(cli: &Cli, seed: u64) -> io::Result<Plan> {
    let here = env::current_exe()?;
    let server = cli.server.clone().unwrap_or_else(|| here.with_file_name("server"));
    Ok(Plan {
        seed,
        cycles: cli.cycles,
        server,
        failing_server: here.with_file_name("failing-server"),
    })
}

fn report(cli: &Cli, Outcome { history, starts, wrong }: &Outcome, took: Duration) -> ExitCode {
    let broken = check(history);
    let seed = history.run.seed;
    let (events, posts, cycles) = (history.events.len(), history.log.len(), cli.cycles);
    print(&format!("seed {seed}: {cycles} cycles in {took:.0?}, {events} events, {posts} posts"));
    for (kind, fault) in &history.run.faults {
        print(&format!("{:>6} of {:>6} {kind}", fault.fired, fault.armed));
    }
    let mut starts = starts.clone();
    starts.sort_unstable();
    if let (Some(median), Some(longest)) = (starts.get(starts.len() / 2), starts.last()) {
        let count = starts.len();
        print(&format!(
            "{count} starts: ready after {median:.2?} (median), {longest:.2?} (longest)"
        ));
    }
    wrong.iter().for_each(|wrong| print(&format!("wrong: {wrong}")));
    for broken in broken.chunk_by(|a, b| a.promise == b.promise) {
        print(&format!("{:>6} × {}", broken.len(), broken[0]));
    }
    let void = void(history);
    if let Some(why) = &void {
        print(&format!("VOID, the run proves nothing: {why}"));
    }
    print(&format!("{} promises broken", broken.len()));
    let good = broken.is_empty() && wrong.is_empty() && void.is_none();
    if !good {
        save(&cli.save, history);
    }
    ExitCode::from(u8::from(!good))
}

fn failed(error: &dyn Error) -> ExitCode {
    // If stderr is closed too, only the exit code reports the failure.
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::FAILURE
}
