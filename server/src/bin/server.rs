//! The server: parse, bind, open, serve, exit code.

use std::{
    error::Error,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use quartet_server::{
    config::Cli,
    error::chain,
    server::{Server, ServerError},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|problem| problem.exit());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is gone too, the exit code has to do.
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

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(cli.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", cli.listen))?;
    let server = Server::open(cli.config).await?;
    // Whoever started us waits for this line, so it must not stay in a buffer.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let shutdown = CancellationToken::new();
    let serve = server.serve(listener, shutdown.clone().cancelled_owned());
    tokio::select! {
        result = serve => Ok(result?),
        () = async {
            signals.next().await;
            shutdown.cancel();
            signals.next().await;
        } => Err("stopped by a second signal before all calls had ended".into()),
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
