//! The run: every subject of every work, round by round, and what comes of it.

use std::{env, fs, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum as _};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{console::say, error::Result};
use folders::Folders;
use results::Results;
use toolchains::Built;
use works::{Case, Scale, Work};

mod works;

mod folders;
mod process;
mod toolchains;

pub(crate) mod flame;

mod goals;
mod plots;
mod report;
mod results;

/// How much to run, and where to write what came of it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The full form: more of everything, subjects that no goal names, five rounds. The quick one
    /// takes two minutes or three on two cores.
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
    /// Our server's binary, if it is not the one beside this.
    #[arg(long)]
    server: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    allow_many_connections()?;
    let folders = Folders::find(options.server.clone())?;
    let scale = if options.full { Scale::FULL } else { Scale::QUICK };
    let works = Work::value_variants().iter();
    let works = works.filter(|work| options.only.is_empty() || options.only.contains(work));
    let mut works: Vec<_> = works.map(|work| (*work, works::cases(*work, &scale))).collect();
    let wanted = works.iter().flat_map(|(_, cases)| cases).filter_map(Case::foreign);
    let built = Built::of(wanted, &folders);

    if works::STORES.is_empty() {
        say("without embedded stores: build with --features quartet-bench/stores");
    }

    let begun = Instant::now();
    let mut results = Results::default();
    for (work, cases) in &mut works {
        cases.retain(|case| case.can_run(&built));
        let rounds = options.rounds.unwrap_or(scale.rounds);
        // What idle feeds hold does not swing.
        let rounds = if *work == Work::Idle { rounds.div_ceil(3) } else { rounds };
        for round in 1..=rounds {
            play(cases, round, &folders, &mut results)?;
        }
        say(&format!("{work:?} done after {:.0} s", begun.elapsed().as_secs_f64()));
    }

    fs::create_dir_all(&options.out)?;
    let command = env::args().skip(1).collect::<Vec<_>>().join(" ");
    report::write(&options.out, &results, &report::Machine::read(&command, &built)?)?;
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
