//! `quartet-check`: checks saved histories again.

use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

use clap::Parser;
use quartet_check::{History, check, void};

/// Checks histories of a Quartet server against its promises.
///
/// A history is what clients sent, were told and saw in a run, and the log as it was read
/// afterwards, as lines of JSON. The simulator and the crash tests save the history of a run that
/// broke a promise.
///
/// Exit code: 0 if every run counts and kept every promise, 1 if not, 2 if a file is no history.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example:\n  quartet-check target/simulation/history.42.jsonl")]
struct Cli {
    /// Files to check.
    #[arg(required = true, value_name = "HISTORY")]
    histories: Vec<PathBuf>,

    /// Broken promises as lines of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut worst = 0;
    for path in &cli.histories {
        let name = path.display();
        let read = fs::read_to_string(path).map_err(|error| error.to_string());
        let (code, report) = match read.and_then(|lines| History::from_lines(&lines)) {
            Ok(history) => report(&history, cli.json),
            Err(error) => (2, vec![format!("no history: {error}")]),
        };
        worst = worst.max(code);
        for line in report {
            let line = if cli.json { line } else { format!("{name}: {line}") };
            // A reader that has seen enough is no error.
            if writeln!(std::io::stdout(), "{line}").is_err() {
                return ExitCode::from(worst);
            }
        }
    }
    ExitCode::from(worst)
}

/// The exit code and the lines to print.
fn report(history: &History, json: bool) -> (u8, Vec<String>) {
    let broken = check(history);
    if json {
        let lines = broken.iter().filter_map(|broken| serde_json::to_string(broken).ok());
        return (u8::from(!broken.is_empty() || void(history).is_some()), lines.collect());
    }
    let mut lines: Vec<String> = broken.iter().map(ToString::to_string).collect();
    if let Some(why) = void(history) {
        lines.push(format!("VOID, it proves nothing: {why}"));
    }
    let code = u8::from(!lines.is_empty());
    if lines.is_empty() {
        let (events, posts) = (history.events.len(), history.log.len());
        lines.push(format!("every promise kept over {events} events and {posts} posts"));
    }
    (code, lines)
}
