//! The server binary: parses flags, binds, opens the log, serves, and sets the exit code.

use std::{error::Error, io::Write as _, process::ExitCode};

use quartet_client::command::rust_log;
use quartet_connection::{Listener, guard::frames::FRAMES, listener::unix};
use quartet_runtime::cores::Threads;
use quartet_server::{
    error::chain,
    listen,
    observe::traces::Traces,
    server::{Server, ServerError, answer_while},
    settings::Settings,
};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::{
    flags::{Cli, Command, Listen},
    probe::Probe,
    signals::Signals,
};

mod flags;
mod log;
mod probe;
mod signals;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|problem| problem.exit());
    match start(cli) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(error) => {
            // If stderr is closed too, the exit code must suffice.
            let _ = writeln!(std::io::stderr(), "error: {}", chain(&*error));
            match error.downcast_ref() {
                Some(ServerError::NoUserService | ServerError::UserEndpoint(_)) => {
                    ExitCode::from(2)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs shared work, such as accepting connections and writing the log, on this thread, and
/// connections on threads of their own.
fn start(cli: Cli) -> Result<bool, Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let traces = {
        // The exporter's connection runs on this runtime.
        let _inside = runtime.enter();
        cli.flags
            .otlp
            .as_deref()
            .map(Traces::export_to)
            .transpose()
            .map_err(|error| format!("--otlp: {error}"))?
    };
    log_to_stderr(cli.flags.frames, traces.as_ref());
    match cli.command {
        Some(Command::Health(probe)) => return runtime.block_on(ask(&probe)),
        Some(Command::Log(look)) => {
            return Ok(runtime.block_on(look.run(&mut std::io::stdout()))?);
        }
        #[cfg(feature = "certs")]
        Some(Command::Make(make)) => {
            make.run(&mut std::io::stdout())?;
            return Ok(true);
        }
        None => {}
    }
    let threads = Threads::start(cli.threads())?;
    runtime.block_on(async {
        let served = run(cli.listen, cli.flags.settings(threads.cores())).await;
        if let Some(traces) = traces {
            traces.finish().await;
        }
        served.map(|()| true)
    })
}

async fn ask(probe: &Probe) -> Result<bool, Box<dyn Error>> {
    let mut out = std::io::stdout();
    tokio::select! {
        asked = probe.run(&mut out) => Ok(asked?),
        _ = tokio::signal::ctrl_c() => Ok(probe.watch),
    }
}

/// What is logged without RUST_LOG. h2 warns of every mistake of a peer, each time.
fn logged() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("h2", LevelFilter::ERROR)
}

/// Logs what RUST_LOG selects; the frames, if they are shown, without time, level and target.
fn log_to_stderr(frames: bool, traces: Option<&Traces>) {
    let log = rust_log::layer(logged());
    let of_frames = Targets::new().with_target(FRAMES, LevelFilter::DEBUG);
    let shown = rust_log::plain(of_frames);
    let registry = tracing_subscriber::registry().with(log);
    registry.with(frames.then_some(shown)).with(traces.map(Traces::layer)).init();
}

async fn run(listen: Listen, settings: Settings) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new(settings.has_files())?;
    match listen {
        Listen::Tcp(address) => {
            let listener = listen::tcp(address).await?;
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            let url = format!("{scheme}://{}", listener.local_addr()?);
            run_on(listener, url, settings, signals).await
        }
        Listen::Unix(path) => {
            let url = format!("unix:{}", path.display());
            let bound = unix::bind(&path).await;
            let listener = bound.map_err(|error| format!("cannot listen on {url}: {error}"))?;
            run_on(listener, url, settings, signals).await
        }
    }
}

/// Opens the server and serves until a signal.
#[allow(clippy::exit)] // a second signal must not wait, not even for the runtime
async fn run_on(
    mut listener: impl Listener + 'static,
    url: String,
    settings: Settings,
    mut signals: Signals,
) -> Result<(), Box<dyn Error>> {
    let opening = answer_while(&mut listener, &settings, Server::open(settings.clone()));
    let server = tokio::select! {
        server = opening => server?,
        () = signals.stop(None) => return Ok(()),
    };
    announce(&format!("listening on {url}"));
    if let Some(address) = server.metrics_address() {
        announce(&format!("metrics on http://{address}/metrics"));
    }

    let shutdown = CancellationToken::new();
    let reloader = server.reloader().clone();
    let serve = server.serve(listener, shutdown.clone().cancelled_owned());
    tokio::select! {
        result = serve => Ok(result?),
        () = async {
            signals.stop(Some(&reloader)).await;
            shutdown.cancel();
            signals.again().await;
        } => {
            // Exits without waiting for anything, such as a disk that hangs.
            let problem = "stopped by a second signal before all calls had ended";
            let _ = writeln!(std::io::stderr(), "error: {problem}");
            std::process::exit(1)
        }
    }
}

/// Prints a line at once, because a parent process may wait for it. The log has it if stdout has no
/// reader, which is no reason not to serve.
fn announce(line: &str) {
    let mut stdout = std::io::stdout();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!("{line} (stdout cannot be written: {error})");
    }
}
