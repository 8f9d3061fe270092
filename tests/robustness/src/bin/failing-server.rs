//! `failing-server`: the server, over a disk that fails on purpose.

use std::{
    error::Error,
    future::pending,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use clap::Parser;
use quartet_client::{command::rust_log, connect};
use quartet_log::{EmbeddedLog, LogOptions, disk::RealDisk};
use quartet_robustness::crash::failing::{self, Fault};
use quartet_server::{
    error::chain,
    server::Server,
    settings::{Role, Settings},
};
use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// A Post service whose disk fails at a chosen operation.
///
/// It is the library that `server` runs, over another disk. Until the fault it works normally, with
/// five sample users, and it leaves a log that `server` can open. It prints `listening on
/// http://ADDRESS` once it accepts calls, and ends on Ctrl-C.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// The directory of the post log; created if it is missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// What goes wrong.
    #[arg(long)]
    fault: Fault,

    /// The operation at which the fault happens: the Nth one at which it can, from 1.
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    nth: u64,
}

const EXAMPLES: &str = "\
Examples:
  failing-server --data /tmp/log --fault in-commit --nth 3
                          dies at the third commit, written and not yet synced
  failing-server --data /tmp/log --fault sync-error
                          acknowledges nothing after the first fsync, and still reads";

/// Small, so that commits often begin a new segment.
const SEGMENT_BYTES: u64 = 256 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    rust_log::init(Targets::new().with_default(LevelFilter::INFO));
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed too, only the exit code reports the failure.
            let _ = writeln!(io::stderr(), "error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let users = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let channel = connect(&format!("http://{}", users.local_addr()?))?;
    let user_config = Settings { serve: vec![Role::User], ..Settings::default() };
    let user_service = Server::open(user_config).await?.serve(users, pending());

    let listener = TcpListener::bind(cli.listen).await?;
    let (disk, trigger) = failing::disk(RealDisk::new(cli.data), cli.fault, cli.nth);
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
    let log = EmbeddedLog::open(Arc::new(disk), options).await?;
    trigger.opened();
    let posts = Server::of_posts(Arc::new(log), channel, SystemTime::now, Settings::default());
    // Flushed, because the parent process waits for this line.
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    io::stdout().flush()?;

    let interrupted = async {
        // Without the signal it serves until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        served = posts.serve(listener, interrupted) => Ok(served?),
        served = user_service => Ok(served?),
    }
}
