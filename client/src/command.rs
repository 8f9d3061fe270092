//! The four binaries, as functions: [`unary::run`], [`server_streaming::run`], [`client_streaming::run`] and
//! [`bidirectional::run`].
//!
//! Each takes its parsed arguments and an [`Io`], makes its one call, and prints every event as it comes. A `main` adds
//! the process: [`start`]. Whoever runs a command without one brings an `Io` of its own.
//!
//! Output is written in place and may block: a command has nothing else to do than what it prints, and a reader of its
//! output that is slow shall slow it down.

use std::{
    fmt::{self, Display},
    future,
    io::{self, BufWriter, IsTerminal as _, Read, Write},
    pin::{Pin, pin},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anstream::{AutoStream, ColorChoice};
use async_stream::try_stream;
use clap::Parser;
use futures::{Stream, StreamExt as _};
use quartet_channel::{EXPLAIN, SetupError, TraceContext};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use tokio::{sync::oneshot, time::Instant};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, Targets},
    fmt as lines,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::flags::{KeepaliveFlags, TlsFlags, TokenFlags, endpoint, service_config};
use crate::{
    Channel, Error, ServiceConfig, connect,
    output::{Clean, Printer},
    resume::Disconnected,
};

pub mod bidirectional;
pub mod client_streaming;
pub mod flags;
pub mod server_streaming;
pub mod unary;

/// The options that all four share.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// The server: http(s)://HOST:PORT or unix:PATH; or several: dns:///HOST:PORT, ipv4:A:P,B:P
    ///
    /// file:PATH is a file of addresses, one a line, which is read again when it changes.
    #[arg(long, value_name = "TARGET", default_value = connect::DEFAULT_ENDPOINT, value_parser = endpoint)]
    pub endpoint: String,
    /// Give up after this time, resumes included (500ms, 30s, 5m)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// How calls are balanced and retried: gRPC's service config, as JSON or in a file
    #[arg(long, value_name = "FILE|JSON", value_parser = service_config)]
    pub service_config: Option<ServiceConfig>,
    /// Say on stderr what becomes of connections and attempts
    #[arg(long)]
    pub explain: bool,
    /// The trace that the calls belong to (W3C: 00-TRACE-PARENT-01); without it, a new one
    #[arg(long, value_name = "CONTEXT", env = "TRACEPARENT")]
    pub traceparent: Option<TraceContext>,
    /// Print one JSON object per line, for programs
    #[arg(long)]
    pub json: bool,
    /// How a dead connection is noticed.
    #[command(flatten)]
    pub keepalive: KeepaliveFlags,
    /// How it is encrypted.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Who calls.
    #[command(flatten)]
    pub token: TokenFlags,
}

impl Common {
    fn says_who_calls(&self) -> bool {
        self.tls.cert.is_some() || self.token.credentials().is_some()
    }

    fn connect(&self, rpc: &'static str) -> Result<Channel, Failure> {
        self.channel().map_err(|error| self.failed(rpc, error.into()))
    }

    fn channel(&self) -> Result<Channel, SetupError> {
        let builder = Channel::builder(self.endpoint.parse()?).tls(&self.tls.settings())?;
        let config = self.service_config.clone().unwrap_or_default();
        let keepalive = self.keepalive.parameters();
        let channel = builder.keepalive(keepalive).service_config(config).build();
        let channel = match self.token.credentials() {
            Some(credentials) => channel.with_credentials(credentials)?,
            None => channel,
        };
        let channel = match self.traceparent.clone() {
            Some(trace) => channel.with_trace_context(trace),
            None => channel,
        };
        Ok(match self.timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
            Some(deadline) => channel.with_deadline(deadline),
            None => channel,
        })
    }

    fn failed(&self, rpc: &'static str, error: Error) -> Failure {
        // Whoever looked at the clock first.
        if let (Some(timeout), true) = (self.timeout, error.is_deadline_exceeded()) {
            return Failure::TimedOut(timeout);
        }
        Failure::Call { rpc, endpoint: self.endpoint.clone(), error }
    }
}

/// Where a command reads and writes, and how it is stopped.
pub struct Io {
    /// What is typed or piped in.
    pub input: Box<dyn Read + Send>,
    /// Data. Writes are small: it should buffer. It is flushed after every event.
    pub out: Box<dyn Write + Send>,
    /// Talk: what goes wrong, what happens next.
    pub err: Box<dyn Write + Send>,
    /// Resolves when the user wants to stop.
    pub interrupt: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Resolves when nobody reads `out` any more, so that a reader that waits for posts need not wait to find out.
    pub unread: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether `out` is a terminal that shows colours.
    pub color: bool,
    /// Whether `input` is a terminal, which has shown what was typed.
    pub echo: bool,
    /// Whether stderr is a terminal, on which a progress bar can move.
    pub progress: bool,
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("color", &self.color).field("echo", &self.echo).finish()
    }
}

impl Io {
    /// No terminal, never interrupted, and read to the end.
    pub fn new(
        input: impl Read + Send + 'static,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            input: Box::new(input),
            out: Box::new(out),
            err: Box::new(err),
            interrupt: Box::pin(future::pending()),
            unread: Box::pin(future::pending()),
            color: false,
            echo: false,
            progress: false,
        }
    }

    /// The process's own, interrupted by Ctrl-C.
    pub fn process() -> Self {
        Self {
            interrupt: Box::pin(ctrl_c()),
            unread: Box::pin(stdout_unread()),
            color: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            echo: io::stdin().is_terminal(),
            progress: io::stderr().is_terminal(),
            ..Self::new(io::stdin(), BufWriter::new(io::stdout()), io::stderr())
        }
    }
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the signal ends the process by itself.
        future::pending::<()>().await;
    }
}

/// Resolves when stdout is a pipe that has lost its reader, or a terminal that was closed.
async fn stdout_unread() {
    let (tell, unread) = oneshot::channel();
    let watch = move || {
        let stdout = io::stdout();
        // What is wrong with it is reported unasked, and nothing else is asked for.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let polled = retry_on_intr(|| poll(&mut watched, None));
        if polled.is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            // The command may be over.
            let _ = tell.send(());
        }
    };
    // Nobody joins it: a poll cannot be interrupted. Without it, the next write finds out.
    let _ = thread::Builder::new().name("stdout".into()).spawn(watch);
    if unread.await.is_err() {
        future::pending::<()>().await;
    }
}

/// Resolves when a command that only reads has nothing left to do for anybody.
async fn either(interrupt: impl Future<Output = ()>, unread: impl Future<Output = ()>) {
    tokio::select! {
        () = interrupt => {}
        () = unread => {}
    }
}

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A call failed.
    #[error("{rpc} at {endpoint}: {error}")]
    Call {
        /// The RPC's name.
        rpc: &'static str,
        /// Where it was made.
        endpoint: String,
        /// Why it failed.
        #[source]
        error: Error,
    },
    /// The time that `--timeout` gave is over.
    #[error("timed out after {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// The user stopped what was not complete.
    #[error("interrupted")]
    Interrupted,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The input cannot be read.
    #[error("cannot read {0}: {1}")]
    Input(String, #[source] io::Error),
    /// The command did what it could, and not all of it worked.
    #[error("{0}")]
    Partial(String),
}

/// A binary: parses the arguments, runs the command, turns its result into an exit code.
///
/// 0: done; 1: failed, with one line on stderr; 2: wrong usage. `RUST_LOG=h2=debug` shows the frames.
pub fn start<A: Parser + AsRef<Common>, R>(run: impl FnOnce(A, Io) -> R) -> ExitCode
where
    R: Future<Output = Result<(), Failure>>,
{
    let args = A::parse();
    let common = args.as_ref();
    log(common.explain);
    for key in common.service_config.iter().flat_map(|config| &config.ignored) {
        Talk::new(io::stderr()).say(format_args!("the service config's {key} means nothing here"));
    }
    let finished = tokio::runtime::Runtime::new().map_err(Failure::from).and_then(|runtime| {
        let finished = runtime.block_on(run(args, Io::process()));
        // A thread may still wait for a file or a terminal; the process need not wait for the thread.
        runtime.shutdown_background();
        finished
    });
    match finished {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Talk::new(io::stderr()).say(format_args!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// `--explain` shows what the channel does, in plain lines; RUST_LOG shows whatever it names, with the time.
fn log(explain: bool) {
    if explain {
        let only = Targets::new().with_target(EXPLAIN, LevelFilter::DEBUG);
        let lines = lines::layer().without_time().with_level(false).with_target(false);
        tracing_subscriber::registry().with(lines.with_writer(io::stderr).with_filter(only)).init();
        return;
    }
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// A command's output: data and talk.
struct Console {
    printer: Printer,
    talk: Talk,
}

impl Console {
    fn disconnected(&mut self, Disconnected { cause, delay }: &Disconnected) {
        self.talk.say(format_args!("{cause}; trying again in {delay:.0?}"));
    }
}

/// Lines for people on stderr.
#[derive(Clone)]
struct Talk(Arc<Mutex<Box<dyn Write + Send>>>);

impl Talk {
    fn new(err: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(err))))
    }

    fn say(&self, line: impl Display) {
        let mut err = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // If stderr is gone there is nobody left to tell.
        let _ = writeln!(err, "{}", Clean(&line.to_string())).and_then(|()| err.flush());
    }
}

/// The events of a call until they end, it shall stop (then they just end), or the time is up.
fn bounded<T: Send>(
    rpc: &'static str,
    common: &Common,
    stop: impl Future<Output = ()> + Send,
    events: impl Stream<Item = Result<T, Error>> + Send,
) -> impl Stream<Item = Result<T, Failure>> + Send {
    try_stream! {
        let mut time_up = pin!(time_up(common.timeout));
        let mut events = pin!(events.take_until(stop));
        loop {
            let event = tokio::select! {
                biased; // a stream that never pauses must end in time, too
                failure = &mut time_up => Some(Err(failure)),
                event = events.next() => {
                    event.map(|event| event.map_err(|error| common.failed(rpc, error)))
                }
            };
            match event {
                Some(event) => yield event?,
                None => return,
            }
        }
    }
}

/// How much longer than its deadline a call may take to say that it is over: a server that hears us says so itself.
const LAST_WORD: Duration = Duration::from_millis(500);

async fn time_up(timeout: Option<Duration>) -> Failure {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout.saturating_add(LAST_WORD)).await;
            Failure::TimedOut(timeout)
        }
        None => future::pending().await,
    }
}
