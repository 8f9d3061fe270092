//! The flags of a server. `server --help` prints the doc comments of this file and its submodules.

use std::{ffi::OsString, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    error::ErrorKind, parser::ValueSource,
};
use quartet_channel::{TlsSettings as ClientTls, TokenSource};
use quartet_log::disk::Access;
use quartet_runtime::cores::Cores;
use quartet_server::settings::{
    LogSettings, ObservabilitySettings, Role, Settings, Storage, UserEndpoint, UserSettings,
};

pub(crate) use self::connections::Listen;
#[cfg(feature = "certs")]
use self::make::Make;
use self::{
    at_least_one::at_least_one,
    connections::{CallFlags, EnforcementFlags, KeepaliveFlags},
    security::{AuthFlags, TlsFlags},
};
use crate::{log::LogCommand, probe::Probe};

mod at_least_one;
mod connections;
#[cfg(feature = "certs")]
mod make;
mod security;

/// The server of Quartet: an ordered log of posts behind the four gRPC RPC kinds.
///
/// It prints `listening on http://ADDRESS` on stdout once it takes calls, logs to stderr (RUST_LOG
/// sets the level), and drains on Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// Run a subcommand instead.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The address to listen on; port 0 picks a free port. unix:PATH listens on a unix socket, for
    /// processes of the same user.
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    pub(crate) listen: Listen,

    /// Threads for connections. Default: one per core.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    pub(crate) threads: Option<NonZeroUsize>,

    /// All other flags.
    #[command(flatten)]
    pub(crate) flags: Flags,
}

/// The subcommands of `server`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask a server for its health.
    Health(Probe),
    /// Look into the log in a directory, also while a server uses it. Nothing is changed.
    #[command(subcommand)]
    Log(LogCommand),
    /// Make certificates, keys and tokens for trying out TLS and authentication.
    #[cfg(feature = "certs")]
    #[command(flatten)]
    Make(Make),
}

const EXAMPLES: &str = "\
Examples:
  server                                  both services, posts in ./quartet-data
  server --ephemeral --listen 127.0.0.1:0 a server for experiments
  server --listen unix:/tmp/quartet.sock  on a unix socket; clients add
                                          --endpoint unix:/tmp/quartet.sock
  server --serve user --listen 127.0.0.1:9000
  server --serve post --user-endpoint http://127.0.0.1:9000
                                          the services in two processes, without sample posts

  server health --watch                   the health of a server, now and on every change
  server log info                         what the log in ./quartet-data holds
  server log verify                       whether every checksum in it is right

  server certs certs/                     certificates and keys for this machine
  server --tls-cert certs/server.pem --tls-key certs/server.key
                                          a server with TLS; clients add --ca certs/ca.pem

Then, in another terminal:
  server-streaming --follow               every post, and new posts as they are stored
  bidirectional --tag streaming           join a tag, type posts";

/// The headings of flags for only one service.
const USER: &str = "User service";
const POST: &str = "Post service";
/// The heading of flags for metrics and traces.
const OBSERVED: &str = "Observability";

impl Cli {
    /// The number of threads for connections.
    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok());
        threads.map_or(1, NonZeroUsize::get)
    }

    /// Reads a command line. Refuses a flag of a service that does not run, like an unknown flag.
    ///
    /// # Errors
    /// The command line is wrong, or asks for help or the version.
    pub(crate) fn read(
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> clap::error::Result<Self> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(words)?;
        let cli = Self::from_arg_matches(&matches)?;
        if let (Listen::Unix(_), Some(_)) = (&cli.listen, &cli.flags.tls.tls_cert) {
            let problem = "--tls-cert is for TCP: a unix socket is protected by its mode";
            return Err(command.error(ErrorKind::ArgumentConflict, problem));
        }
        for (service, heading) in [(Service::User, USER), (Service::Post, POST)] {
            if !cli.flags.runs(service)
                && let Some(flag) = given(&command, &matches, heading)
            {
                let problem = format!("--{flag} is for the {heading}, which --serve leaves out");
                return Err(command.error(ErrorKind::ArgumentConflict, problem));
            }
        }
        Ok(cli)
    }
}

/// A flag under this heading that is on the command line.
fn given<'a>(command: &'a clap::Command, matches: &ArgMatches, heading: &str) -> Option<&'a str> {
    let mut flags = command.get_arguments().filter(|flag| flag.get_help_heading() == Some(heading));
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    flags.find(|flag| is_given(flag.get_id().as_str()))?.get_long()
}

/// The flags of a server, apart from its address and threads.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// The services to run.
    #[arg(long, value_delimiter = ',', default_value = "user,post", value_name = "SERVICES")]
    pub(crate) serve: Vec<Service>,

    /// A file of users: JSON lines of {"user_id", "name", "phone_number"?, "age"?}. Default: five
    /// sample users; if the Post service runs here too, an empty log starts with eight posts by
    /// them.
    #[arg(long, value_name = "FILE.jsonl", help_heading = USER)]
    pub(crate) users: Option<PathBuf>,

    /// The directory of the post log; created if missing.
    #[arg(long, default_value = "./quartet-data", value_name = "DIR", help_heading = POST)]
    pub(crate) data: PathBuf,

    /// Keep the log in memory; it is lost when the server ends.
    #[arg(long, conflicts_with_all = ["data", "read_only"], help_heading = POST)]
    pub(crate) ephemeral: bool,

    /// Serve the posts of the log and change nothing, not even to repair a damaged log.
    #[arg(long, help_heading = POST)]
    pub(crate) read_only: bool,

    /// The address of the User service, if it does not run in this process.
    #[arg(long, value_name = "URL", help_heading = POST)]
    pub(crate) user_endpoint: Option<String>,

    /// How that connection is encrypted.
    #[command(flatten)]
    pub(crate) user_tls: UserTls,

    /// A file with the Post service's token for the User service. It is read for every call.
    ///
    /// The Post service calls in its own name: it never forwards its callers' tokens.
    #[arg(long, value_name = "FILE", requires = "user_endpoint", help_heading = POST)]
    pub(crate) user_token_file: Option<PathBuf>,

    /// Do not add sample posts to an empty log.
    #[arg(long, help_heading = POST)]
    pub(crate) no_seed: bool,

    /// How connections are encrypted.
    #[command(flatten)]
    pub(crate) tls: TlsFlags,

    /// How callers are authenticated.
    #[command(flatten)]
    pub(crate) auth: AuthFlags,

    /// When connections end, and how dead ones are detected.
    #[command(flatten)]
    pub(crate) keepalive: KeepaliveFlags,

    /// Limits of a user's calls.
    #[command(flatten)]
    pub(crate) call_limits: CallFlags,

    /// Compress answers to callers that can read it (gzip or zstd), where they become smaller by
    /// it. Compressed requests are always read.
    #[arg(long, help_heading = "Calls")]
    pub(crate) compress: bool,

    /// Serve metrics for Prometheus at `GET /metrics` on this address; port 0 picks a free port.
    /// Default: no metrics.
    #[arg(
        long,
        value_name = "ADDRESS",
        help_heading = OBSERVED,
        value_parser = quartet_wire::host_port::socket_address
    )]
    pub(crate) metrics: Option<SocketAddr>,

    /// Export traces to this collector, by OTLP over gRPC (http://127.0.0.1:4317). Default: no
    /// traces.
    #[arg(long, value_name = "URL", help_heading = OBSERVED)]
    pub(crate) otlp: Option<String>,

    /// Leave out optional layers, to measure their cost: request ids, access log, metrics, traces,
    /// limits.
    #[arg(
        long,
        conflicts_with_all = ["metrics", "otlp", "max_calls_per_second", "max_open_calls"],
        help_heading = OBSERVED
    )]
    pub(crate) bare: bool,

    /// Limits of clients' pings.
    #[command(flatten)]
    pub(crate) enforcement: EnforcementFlags,

    /// Print every HTTP/2 frame to stderr.
    #[arg(long, help_heading = "Connections")]
    pub(crate) frames: bool,

    /// Connections that may be open at once; further ones are closed.
    #[arg(
        long,
        default_value = "10000",
        value_name = "N",
        value_parser = at_least_one::<NonZeroUsize>,
        help_heading = "Connections"
    )]
    pub(crate) max_connections: NonZeroUsize,

    /// How long open calls may take to finish once the server shuts down.
    #[arg(
        long,
        default_value = "10s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        help_heading = "Connections"
    )]
    pub(crate) drain_timeout: Duration,
}

/// The TLS settings of the Post service for a User service at an `https://` endpoint.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserTls {
    /// Trust this CA (PEM) for the User service's certificate. Default: the CAs that the system
    /// trusts.
    #[arg(long, value_name = "FILE", requires = "user_endpoint", help_heading = POST)]
    pub(crate) user_ca: Option<PathBuf>,

    /// Present this certificate (PEM) to the User service.
    #[arg(
        long,
        value_name = "FILE",
        requires = "user_key",
        requires = "user_endpoint",
        help_heading = POST
    )]
    pub(crate) user_cert: Option<PathBuf>,

    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "user_cert", help_heading = POST)]
    pub(crate) user_key: Option<PathBuf>,

    /// The name that the User service's certificate must have, if it differs from the endpoint's.
    #[arg(long, value_name = "NAME", requires = "user_endpoint", help_heading = POST)]
    pub(crate) user_server_name: Option<String>,
}

impl From<UserTls> for ClientTls {
    fn from(flags: UserTls) -> Self {
        let UserTls { user_ca, user_cert, user_key, user_server_name } = flags;
        Self { ca: user_ca, cert: user_cert, key: user_key, server_name: user_server_name }
    }
}

/// A service that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// The users.
    User,
    /// Their posts.
    Post,
}

impl From<Service> for Role {
    fn from(service: Service) -> Self {
        match service {
            Service::User => Role::User,
            Service::Post => Role::Post,
        }
    }
}

impl Flags {
    /// The settings of a server with these flags, whose connections run on these cores.
    pub(crate) fn settings(self, cores: Cores) -> Settings {
        let mut settings = Settings {
            log: self.log(),
            users: self.users(),
            serve: self.serve.into_iter().map(Role::from).collect(),
            tls: self.tls.files(),
            auth: self.auth.settings(),
            call_limits: self.call_limits.into(),
            compress_answers: self.compress,
            observability: ObservabilitySettings { metrics: self.metrics, bare: self.bare },
            ..Settings::default()
        };
        let connections = &mut settings.connections;
        connections.keepalive = self.keepalive.into();
        connections.enforcement = self.enforcement.into();
        connections.trace_frames = self.frames;
        connections.max_connections = self.max_connections.get();
        connections.drain_timeout = self.drain_timeout;
        connections.cores = cores;
        settings
    }

    fn log(&self) -> LogSettings {
        let access = if self.read_only { Access::Read } else { Access::Write };
        let storage = match self.ephemeral {
            true => Storage::Memory,
            false => Storage::Directory { path: self.data.clone(), access },
        };
        LogSettings { storage, seed: !self.no_seed }
    }

    fn users(&self) -> UserSettings {
        let remote = self.user_endpoint.clone().map(|url| UserEndpoint {
            url,
            tls: self.user_tls.clone().into(),
            token: self.user_token_file.clone().map(TokenSource::File),
        });
        UserSettings { file: self.users.clone(), remote }
    }

    fn runs(&self, service: Service) -> bool {
        self.serve.contains(&service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_of_a_service_that_does_not_run_is_refused() {
        let post = ["--data=x", "--ephemeral", "--read-only", "--user-endpoint=x", "--no-seed"];
        let flags = post.map(|flag| ("user", flag, "Post")).into_iter();
        for (serve, flag, service) in flags.chain([("post", "--users=x", "User")]) {
            let words = ["server", flag, "--serve"];
            assert!(Cli::read(words.into_iter().chain(["user,post"])).is_ok(), "{flag}");
            let error = Cli::read(words.into_iter().chain([serve])).unwrap_err().to_string();
            let name = flag.split('=').next().unwrap();
            let problem = format!("{name} is for the {service} service, which --serve leaves out");
            assert!(error.contains(&problem), "{error}");
        }
    }
}
