//! The run: every subject of every work, round by round, and what comes of it.

use std::{env, fs, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{Result, say};
use process::Folders;
use results::Results;
use works::{Case, Scale};

mod works;

mod process;
mod toolchains;

mod goals;
mod plots;
mod report;
mod results;

/// How much to run, and where to write what came of it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The full form: more posts, longer feeds, five rounds. The quick one takes about four minutes on two slow cores.
    #[arg(long)]
    full: bool,
    /// Only these works.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Work>,
    /// How often each subject has its turn.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the table and the plots go.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
}

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    List,
    Unary,
    Upload,
    Feed,
    Idle,
    Readers,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let begun = Instant::now();
    allow_many_connections()?;
    let folders = Folders::beside_this_binary()?;
    let go = toolchains::build(&folders);
    let scale = if options.full { Scale::FULL } else { Scale::QUICK };
    let rounds = options.rounds.unwrap_or(scale.rounds);

    let mut results = Results::default();
    for work in Work::value_variants() {
        if options.only.is_empty() || options.only.contains(work) {
            let mut cases = works::cases(*work, &scale);
            cases.retain(|case| case.can_run(&go));
            // What idle feeds hold does not swing.
            let rounds = if *work == Work::Idle { rounds.div_ceil(3) } else { rounds };
            for round in 1..=rounds {
                play(&cases, round, &folders, &mut results)?;
            }
        }
    }

    fs::create_dir_all(&options.out)?;
    let command = env::args().skip(1).collect::<Vec<_>>().join(" ");
    report::write(&options.out, &results, &report::Machine::read(&command, &go)?)?;
    plots::write(&options.out, &results)?;
    let path = options.out.join("results.md");
    say(&format!("{} written after {:.0} s", path.display(), begun.elapsed().as_secs_f64()));
    Ok(())
}

/// The processes inherit how many files they may have open: every connection is one.
fn allow_many_connections() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// One round: A B C.
fn play(cases: &[Case], round: usize, folders: &Folders, results: &mut Results) -> Result<()> {
    for case in cases {
        let figures = process::play(case, folders)
            .map_err(|error| format!("{}, {}: {error}", case.table.title, case.subject))?;
        say(&format!(
            "round {round}: {}, {}: {:.3} s of server CPU, {:.3} s for {}",
            case.table.title, case.subject, figures.server_cpu, figures.seconds, figures.count
        ));
        results.add(case, figures);
    }
    Ok(())
}
