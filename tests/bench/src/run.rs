//! The run: every subject of every work, round by round, and its report.

use std::{env, fs, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum as _};

use crate::{error::Result, output::say};
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

/// How much to run, and where to write the results.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run the full form: more of everything, subjects without goals, five rounds. The quick form
    /// takes two or three minutes on two cores.
    #[arg(long)]
    full: bool,
    /// Run only these works.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Work>,
    /// Number of rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where to write the tables and the plots.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// The server to test [default: the one beside this program].
    #[arg(long)]
    server: Option<PathBuf>,
    /// Another build of the server, measured beside it in the same rounds.
    #[arg(long)]
    before: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    process::allow_many_connections()?;
    let folders = Folders::find(options.server.clone())?;
    let before = options.before.clone().map(|server| Folders::find(Some(server))).transpose()?;
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
        if before.is_some() {
            *cases = cases
                .iter()
                .flat_map(|case| [Some(case.clone()), case.before()])
                .flatten()
                .collect();
        }
        let rounds = options.rounds.unwrap_or(scale.rounds);
        // The memory of idle feeds does not vary.
        let rounds = if *work == Work::Idle { rounds.div_ceil(3) } else { rounds };
        for round in 1..=rounds {
            let before = before.as_ref().unwrap_or(&folders);
            play(cases, round, [&folders, before], &mut results)?;
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

/// One round: A B C.
fn play(
    cases: &[Case],
    round: usize,
    [now, before]: [&Folders; 2],
    results: &mut Results,
) -> Result<()> {
    for case in cases {
        let figures = process::play(case, if case.before { before } else { now })
            .map_err(|error| format!("{}, {}: {error}", case.table.title, case.subject))?;
        say(&format!(
            "round {round}: {}, {}: {:.3} s of server CPU, {:.3} s for {}",
            case.table.title, case.subject, figures.server_cpu, figures.seconds, figures.count
        ));
        results.add(case, figures);
    }
    Ok(())
}
