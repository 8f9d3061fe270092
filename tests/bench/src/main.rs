//! The cost of Quartet's work, beside other servers and beside the limits of the machine.
//!
//! For every subject of every work, `bench` starts a server and a load in separate processes, round
//! by round: A B C, A B C. It measures the CPU time of the server's process, because rates vary by
//! a factor of two on shared machines, and checks the data that the load received. `bench serve` is
//! one of those servers, `bench load` one of those loads.
//!
//! Reading order: [`run`] starts and compares; [`load`] sends requests and checks the answers;
//! [`peers`] are servers as tutorials write them; [`posts`] are the posts of all of them.
//!
//! Our own server is not here: it is the binary `server` beside this one.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quartet_client::command::rust_log;
use tracing_subscriber::filter::Targets;

use output::say;

mod run;

mod load;
mod peers;
mod posts;
mod usage;
mod wire;

mod error;
mod output;
#[allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all)] // generated
mod proto;

/// Compares Quartet with other servers and with the limits of the machine.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    run: run::Options,
}

/// The processes of a run, and flame graphs of one of them.
#[derive(Debug, Subcommand)]
enum Part {
    /// Serve as one of the peers.
    Serve(peers::Options),
    /// Put one load on a server and print the figures as a line of JSON.
    Load(load::Options),
    /// Draw a flame graph of one subject.
    Flame(run::flame::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    rust_log::init(Targets::default());
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
