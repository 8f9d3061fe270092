//! `proxies`: every kind of call behind real reverse proxies.

use std::{env, io, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum as _};
use futures::StreamExt as _;
use quartet_client::command::rust_log;
use quartet_robustness::{
    proxies::{Kind, Places, is_installed, run},
    report::print,
};
use tracing_subscriber::filter::Targets;

/// Runs a Quartet server behind reverse proxies, with the configurations of docs/proxies, and
/// makes every kind of call through each: long and silent ones, with deadlines, cancelled, and
/// over restarts of the server. It takes about two minutes, for all proxies side by side.
///
/// Exit code: 0 if every case passed, 1 otherwise.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// The proxies [default: all that are installed].
    proxies: Vec<Kind>,

    /// Run only cases whose names contain this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// The folder of proxies that are not on the PATH.
    #[arg(long, default_value = "target/tools/python/bin", value_name = "DIR")]
    programs: PathBuf,

    /// The folder of the configurations.
    #[arg(long, default_value = "docs/proxies", value_name = "DIR")]
    configurations: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  proxies caddy envoy
  proxies --only deadline";

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let cli = Cli::parse();
    rust_log::init(Targets::default());
    let places = Places {
        server: env::current_exe()?.with_file_name("server"),
        programs: env::current_dir()?.join(&cli.programs),
        configurations: cli.configurations.clone(),
    };
    let kinds = match &cli.proxies[..] {
        [] => Kind::value_variants(),
        kinds => kinds,
    };
    let (kinds, missing): (Vec<Kind>, Vec<Kind>) =
        kinds.iter().partition(|&&kind| is_installed(kind, &places.programs));
    let mut failed = 0;
    for kind in missing {
        // To ask for one by its name is to want it.
        failed += usize::from(!cli.proxies.is_empty());
        print(&format!("{:<8} is not installed", kind.name()));
    }
    let mut findings = run(&kinds, &places, cli.only.as_deref().unwrap_or_default());
    while let Some(finding) = findings.next().await {
        failed += usize::from(finding.verdict.is_err());
        print(&finding.to_string());
    }
    print(&format!("{failed} failed"));
    Ok(ExitCode::from(u8::from(failed > 0)))
}
