//! The process of a command: arguments, logs, runtime, exit code.

use std::{io, process::ExitCode};

use clap::Parser as _;
use quartet_channel::EXPLAIN;
use tokio::runtime::Runtime;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::{console::Stderr, failure::Failure, flags::CommandLine, io::Io, rust_log};

/// Runs a command as a process: parses the arguments, runs it, and turns its result into the exit
/// code.
///
/// 0: done; 1: failed, with one line on stderr; 2: wrong usage. `RUST_LOG=h2=debug` shows the
/// frames of HTTP/2.
pub fn start<C: clap::Args, R>(run: impl FnOnce(CommandLine<C>, Io) -> R) -> ExitCode
where
    R: Future<Output = Result<(), Failure>>,
{
    let args = CommandLine::<C>::parse();
    let stderr = Stderr::new(io::stderr());
    log(args.common.explain);
    for key in args.common.service_config.iter().flat_map(|config| &config.ignored) {
        stderr.say(format_args!("the service config's {key} is not known and is ignored"));
    }
    let ended = Runtime::new().map_err(Failure::from).and_then(|runtime| {
        let ended = runtime.block_on(run(args, Io::process()));
        // A thread may still wait for a file or a terminal. The process does not wait for it.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stderr.say(format_args!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// With `--explain`, prints what the channel does in plain lines; otherwise what RUST_LOG selects,
/// with the time.
fn log(explain: bool) {
    if explain {
        let only = Targets::new().with_target(EXPLAIN, LevelFilter::DEBUG);
        return tracing_subscriber::registry().with(rust_log::plain(only)).init();
    }
    rust_log::init(Targets::default());
}
