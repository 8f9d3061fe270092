//! Flame graphs: one subject's trial under `perf`, and what inferno makes of its samples.
//!
//! Not here: building a server whose stacks `perf` can follow. `RUSTFLAGS="-C
//! force-frame-pointers=yes" cargo build --release --bin server --target-dir target/flame` does
//! that.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use clap::{Args, ValueEnum as _};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    folders::Folders,
    process::{Trial, measure},
    toolchains::Built,
    works::{self, Case, OURS, Scale, Work},
};
use crate::{console::say, error::Result};

/// Samples per second and thread: enough for a trial of seconds, and not a multiple of what timers
/// use.
const RATE: &str = "997";
/// Frames narrower than this part of the whole, in per cent, are left out: nobody sees them, and
/// the file stays small.
const NARROWEST: &str = "0.4";

/// Whose time, and where the graph goes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A table of the results, by the name of its plot: list, feed-1000-paced, ...
    table: String,
    /// One of its subjects.
    #[arg(long, default_value = OURS)]
    subject: String,
    /// Look at the load and not at the server.
    #[arg(long)]
    load: bool,
    /// Our server's binary, if it is not the one beside this.
    #[arg(long)]
    server: Option<PathBuf>,
    /// What stands above the graph.
    #[arg(long)]
    title: Option<String>,
    #[arg(long, default_value = "flame.svg")]
    out: PathBuf,
}

pub(crate) fn draw(options: &Options) -> Result<()> {
    super::allow_many_connections()?;
    let folders = Folders::find(options.server.clone())?;
    let case = find(options)?;
    if !case.can_run(&Built::of(case.foreign().into_iter(), &folders)) {
        return Err(format!("{} could not be built", case.subject).into());
    }
    let samples = folders.bench.join("perf.data");
    record(&case, &folders, options.load, &samples)?;
    let title = options.title.clone().unwrap_or(format!("{}: {}", case.table.title, case.subject));
    render(&samples, options, &title, &folders)?;
    fs::remove_file(&samples)?;
    say(&format!("{} written", options.out.display()));
    Ok(())
}

fn find(options: &Options) -> Result<Case> {
    let mut cases: Vec<_> =
        Work::value_variants().iter().flat_map(|work| works::cases(*work, &Scale::FULL)).collect();
    cases.retain(|case| case.table.name == options.table);
    let subjects: Vec<_> = cases.iter().map(|case| case.subject).collect();
    let missing = format!("no {:?} in {:?}: {subjects:?}", options.subject, options.table);
    let case = cases.into_iter().find(|case| case.subject == options.subject);
    case.ok_or_else(|| missing.into())
}

/// Runs a trial with `perf` beside it.
fn record(case: &Case, folders: &Folders, load: bool, samples: &Path) -> Result<()> {
    let trial = Trial::prepare(case, folders)?;
    let server = trial.server().filter(|_| !load);
    match server {
        Some(pid) => {
            let perf = Perf::attach(pid, samples)?;
            let figures = measure(trial.load(case)?)?;
            perf.stop()?;
            say(&format!("{:.3} s of server CPU for {}", figures.server_cpu, figures.count));
        }
        None => {
            let load = trial.load(case)?;
            let mut command = perf(samples);
            command.arg("--").arg(load.get_program()).args(load.get_args());
            let figures = measure(command)?;
            say(&format!("{:.3} s of the load's CPU for {}", figures.load_cpu, figures.count));
        }
    }
    Ok(())
}

/// The CPU's clock is there on virtual machines too.
fn perf(samples: &Path) -> Command {
    let mut command = Command::new("perf");
    command.args(["record", "--quiet", "--event", "cpu-clock", "--freq", RATE]);
    command.args(["--call-graph", "fp", "--output"]).arg(samples);
    command
}

/// `perf` that looks at a process.
struct Perf(Child);

impl Perf {
    fn attach(pid: u32, samples: &Path) -> Result<Self> {
        let mut command = perf(samples);
        command.args(["--pid", &pid.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(start(&mut command)?))
    }

    /// It writes what it has and ends.
    fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::INT)?;
        self.0.wait()?;
        Ok(())
    }
}

/// `perf script`, then inferno's two programs, each reading what the one before it says.
fn render(samples: &Path, options: &Options, title: &str, folders: &Folders) -> Result<()> {
    let mut script = Command::new("perf");
    // Who was inlined where takes minutes to find out.
    script.args(["script", "--no-inline", "--input"]).arg(samples).stderr(Stdio::null());
    let mut script = start(script.stdout(Stdio::piped()))?;
    let samples = script.stdout.take().ok_or("no stdout")?;
    let mut collapse = folders.tool("inferno-collapse-perf");
    let collapse = start(collapse.stdin(samples).stdout(Stdio::piped()))?;
    let stacks = String::from_utf8(succeeded(collapse)?)?;
    succeeded(script)?;

    let mut graph = folders.tool("inferno-flamegraph");
    graph.args(["--title", title, "--minwidth", NARROWEST, "--colors", "rust", "--deterministic"]);
    let mut graph = start(graph.stdin(Stdio::piped()).stdout(fs::File::create(&options.out)?))?;
    graph.stdin.take().ok_or("no stdin")?.write_all(unnumbered(&stacks).as_bytes())?;
    succeeded(graph).map(drop)
}

/// Threads that do the same, "core-0" and "core-1", as one.
fn unnumbered(stacks: &str) -> String {
    let number = |c: char| c == '-' || c.is_ascii_digit();
    let line = |line: &str| match line.split_once(';') {
        Some((thread, stack)) => format!("{};{stack}\n", thread.trim_end_matches(number)),
        None => format!("{line}\n"),
    };
    stacks.lines().map(line).collect()
}

fn succeeded(child: Child) -> Result<Vec<u8>> {
    let output = child.wait_with_output()?;
    if output.status.success() { Ok(output.stdout) } else { Err("perf or inferno failed".into()) }
}

fn start(command: &mut Command) -> Result<Child> {
    let install = "inferno comes with `cargo install inferno --root target/tools`";
    let name = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|error| format!("{name} cannot be run: {error}; {install}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_differ_by_their_number_are_one() {
        let stacks = "core-0;poll;send 3\ncore-12;poll;send 4\nmain 1\n";
        assert_eq!(unnumbered(stacks), "core;poll;send 3\ncore;poll;send 4\nmain 1\n");
    }
}
