//! What Quartet's work costs, beside other servers and beside the limits.
//!
//! `bench` starts a server and a load, each in a process of its own, for every subject of every
//! work, round by round: A B C, A B C. It measures the CPU time of the server's process, because
//! rates swing twofold on shared machines, and checks what the load received. `bench serve` is one
//! of those servers, `bench load` one of those loads.
//!
//! Reading order: [`run`] starts and compares; [`load`] asks and checks; [`peers`] answer as
//! tutorials do; [`posts`] are what all of them send.
//!
//! Not here: our own server. It is the binary `server` beside this one.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use console::say;

mod run;

mod load;
mod peers;

mod console;
mod error;
mod posts;
mod proto;
mod usage;
mod wire;

/// Compares Quartet with other servers and with the limits of the machine.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    run: run::Options,
}

/// The processes that a run consists of, and a closer look at one of them.
#[derive(Debug, Subcommand)]
enum Part {
    /// Serve as one of the peers.
    Serve(peers::Options),
    /// Put one load on a server and print what came of it as a line of JSON.
    Load(load::Options),
    /// Draw where the time of one subject goes.
    Flame(run::flame::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.part {
        None => run::run(&cli.run),
        Some(Part::Serve(options)) => peers::serve(&options),
        Some(Part::Load(options)) => load::load(&options),
        Some(Part::Flame(options)) => run::flame::draw(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}
