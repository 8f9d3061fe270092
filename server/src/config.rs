//! The flags of a server. `server --help` prints the doc comments of this file and its submodules.

use std::{ffi::OsString, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    error::ErrorKind, parser::ValueSource,
};

use quartet_channel::{TlsSettings as ClientTls, TokenSource};
use quartet_connection::Settings;

#[cfg(feature = "certs")]
use crate::certs::Make;
use crate::{error, probe::Probe};
pub use connections::{CallFlags, EnforcementFlags, KeepaliveFlags, Listen};
pub use security::{AuthFlags, TlsFlags};

mod connections;
mod security;

/// The server of Quartet: an ordered log of posts behind the four gRPC RPC kinds.
///
/// It prints `listening on http://ADDRESS` on stdout once it takes calls, logs to stderr (RUST_LOG
/// sets the level), and drains on Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Run a subcommand instead.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The address to listen on; port 0 picks a free port. unix:PATH listens on a unix socket, for
    /// processes of the same user.
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    pub listen: Listen,

    /// Threads for connections. Default: one per core.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// All other flags.
    #[command(flatten)]
    pub config: Config,
}

/// The subcommands of `server`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a server for its health.
    Health(Probe),
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
    pub fn threads(&self) -> usize {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok());
        threads.map_or(1, NonZeroUsize::get)
    }

    /// Reads a command line. Refuses a flag of a service that does not run, like an unknown flag.
    ///
    /// # Errors
    /// The command line is wrong, or asks for help or the version.
    pub fn read(
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> clap::error::Result<Self> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(words)?;
        let cli = Self::from_arg_matches(&matches)?;
        if let (Listen::Unix(_), Some(_)) = (&cli.listen, &cli.config.tls.tls_cert) {
            let problem = "--tls-cert is for TCP: a unix socket is protected by its mode";
            return Err(command.error(ErrorKind::ArgumentConflict, problem));
        }
        for (role, heading) in [(Role::User, USER), (Role::Post, POST)] {
            if !cli.config.runs(role)
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
pub struct Config {
    /// The services to run.
    #[arg(long, value_delimiter = ',', default_value = "user,post", value_name = "SERVICES")]
    pub serve: Vec<Role>,

    /// A file of users: JSON lines of {"user_id", "name", "phone_number"?, "age"?}. Default: five
    /// sample users; if the Post service runs here too, an empty log starts with eight posts by
    /// them.
    #[arg(long, value_name = "FILE.jsonl", help_heading = USER)]
    pub users: Option<PathBuf>,

    /// The directory of the post log; created if missing.
    #[arg(long, default_value = "./quartet-data", value_name = "DIR", help_heading = POST)]
    pub data: PathBuf,

    /// Keep the log in memory; it is lost when the server ends.
    #[arg(long, conflicts_with_all = ["data", "read_only"], help_heading = POST)]
    pub ephemeral: bool,

    /// Serve the posts of the log and change nothing, not even to repair a damaged log.
    #[arg(long, help_heading = POST)]
    pub read_only: bool,

    /// The address of the User service, if it does not run in this process.
    #[arg(long, value_name = "URL", help_heading = POST)]
    pub user_endpoint: Option<String>,

    /// How that connection is encrypted.
    #[command(flatten)]
    pub user_tls: UserTls,

    /// A file with the Post service's token for the User service. It is read for every call.
    ///
    /// The Post service calls in its own name: it never forwards its callers' tokens.
    #[arg(long, value_name = "FILE", requires = "user_endpoint", help_heading = POST)]
    pub user_token_file: Option<PathBuf>,

    /// Do not add sample posts to an empty log.
    #[arg(long, help_heading = POST)]
    pub no_seed: bool,

    /// How connections are encrypted.
    #[command(flatten)]
    pub tls: TlsFlags,

    /// How callers are authenticated.
    #[command(flatten)]
    pub auth: AuthFlags,

    /// When connections end, and how dead ones are detected.
    #[command(flatten)]
    pub keepalive: KeepaliveFlags,

    /// Limits of a user's calls.
    #[command(flatten)]
    pub call_limits: CallFlags,

    /// Serve metrics for Prometheus at `GET /metrics` on this address; port 0 picks a free port.
    /// Default: no metrics.
    #[arg(
        long,
        value_name = "ADDRESS",
        help_heading = OBSERVED,
        value_parser = quartet_wire::host_port::socket_address
    )]
    pub metrics: Option<SocketAddr>,

    /// Export traces to this collector, by OTLP over gRPC (http://127.0.0.1:4317). Default: no
    /// traces.
    #[arg(long, value_name = "URL", help_heading = OBSERVED)]
    pub otlp: Option<String>,

    /// Leave out optional layers, to measure their cost: request ids, access log, metrics, traces,
    /// limits.
    #[arg(
        long,
        conflicts_with_all = ["metrics", "otlp", "max_calls_per_second", "max_open_calls"],
        help_heading = OBSERVED
    )]
    pub bare: bool,

    /// Limits of clients' pings.
    #[command(flatten)]
    pub enforcement: EnforcementFlags,

    /// Print every HTTP/2 frame to stderr.
    #[arg(long, help_heading = "Connections")]
    pub frames: bool,

    /// Connections that may be open at once; further ones are closed.
    #[arg(long, default_value_t = 10_000, value_name = "N", help_heading = "Connections")]
    pub max_connections: usize,

    /// How long open calls may take to finish once the server shuts down.
    #[arg(
        long,
        default_value = "10s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        help_heading = "Connections"
    )]
    pub drain_timeout: Duration,
}

/// The TLS settings of the Post service for a User service at an `https://` endpoint.
#[derive(Debug, Clone, Default, Args)]
pub struct UserTls {
    /// Trust this CA (PEM) for the User service's certificate. Default: the CAs that the system
    /// trusts.
    #[arg(long, value_name = "FILE", requires = "user_endpoint", help_heading = POST)]
    pub user_ca: Option<PathBuf>,

    /// Present this certificate (PEM) to the User service.
    #[arg(
        long,
        value_name = "FILE",
        requires = "user_key",
        requires = "user_endpoint",
        help_heading = POST
    )]
    pub user_cert: Option<PathBuf>,

    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "user_cert", help_heading = POST)]
    pub user_key: Option<PathBuf>,

    /// The name that the User service's certificate must have, if it differs from the endpoint's.
    #[arg(long, value_name = "NAME", requires = "user_endpoint", help_heading = POST)]
    pub user_server_name: Option<String>,
}

impl UserTls {
    /// These flags as a client's settings.
    pub fn client(&self) -> ClientTls {
        let Self { user_ca, user_cert, user_key, user_server_name } = self.clone();
        ClientTls { ca: user_ca, cert: user_cert, key: user_key, server_name: user_server_name }
    }
}

/// A service that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The users.
    User,
    /// Their posts.
    Post,
}

impl Config {
    /// A server for tests and the tour: both services, and an empty log in memory.
    pub fn ephemeral() -> Self {
        Self {
            serve: vec![Role::User, Role::Post],
            users: None,
            data: PathBuf::new(),
            ephemeral: true,
            read_only: false,
            user_endpoint: None,
            user_tls: UserTls::default(),
            user_token_file: None,
            no_seed: true,
            tls: TlsFlags::default(),
            auth: AuthFlags::default(),
            keepalive: KeepaliveFlags::default(),
            call_limits: CallFlags::default(),
            metrics: None,
            otlp: None,
            bare: false,
            enforcement: EnforcementFlags::default(),
            frames: false,
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(10),
        }
    }

    /// The settings of connections, without TLS, whose files are opened separately.
    pub fn connections(&self) -> Settings {
        let Self { keepalive, enforcement, frames, max_connections, drain_timeout, .. } = *self;
        Settings {
            keepalive: keepalive.into(),
            enforcement: enforcement.into(),
            trace_frames: frames,
            max_connections,
            drain_timeout,
            statuses: error::statuses(),
            ..Settings::default()
        }
    }

    /// The source of the Post service's token for the User service.
    pub fn user_token(&self) -> Option<TokenSource> {
        self.user_token_file.clone().map(TokenSource::File)
    }

    /// Whether this process runs the service.
    pub fn runs(&self, role: Role) -> bool {
        self.serve.contains(&role)
    }

    /// Whether an empty log gets the sample posts. Only with the sample users: another User service
    /// does not know their writers.
    pub fn seeds(&self) -> bool {
        let has_sample_users = self.runs(Role::User) && self.users.is_none();
        has_sample_users && self.user_endpoint.is_none() && !self.no_seed && !self.read_only
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
