//! The flags of a server. `server --help` is made of the comments here and in the files below.

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
/// It prints `listening on http://ADDRESS` on stdout once it takes calls, logs on stderr (RUST_LOG
/// chooses what), and drains on Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Run a subcommand instead.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The address to listen on; port 0 picks a free one. Or unix:PATH, a unix socket for processes
    /// of the same user.
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    pub listen: Listen,

    /// Threads that connections are spread over; one per core by default.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// The flags that do not depend on where it listens.
    #[command(flatten)]
    pub config: Config,
}

/// What `server` does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a server how it is.
    Health(Probe),
    /// Make something to try TLS and tokens with.
    #[cfg(feature = "certs")]
    #[command(flatten)]
    Make(Make),
}

const EXAMPLES: &str = "\
Examples:
  server                                  both services, posts in ./quartet-data
  server --ephemeral --listen 127.0.0.1:0 a server to try things on
  server --listen unix:/tmp/quartet.sock  on a unix socket: clients add --endpoint unix:/tmp/quartet.sock
  server --serve user --listen 127.0.0.1:9000
  server --serve post --user-endpoint http://127.0.0.1:9000
                                          the same as two microservices, without sample posts

  server health --watch                   how a server is, now and whenever it changes

  server certs certs/                     certificates and keys for this machine
  server --tls-cert certs/server.pem --tls-key certs/server.key
                                          the server with TLS: clients add --ca certs/ca.pem

Then, in another terminal:
  server-streaming --follow               every post, and new ones as they come
  bidirectional --tag streaming           join a tag, type posts";

/// The headings of flags that only one service has.
const USER: &str = "User service";
const POST: &str = "Post service";
/// The heading of flags that show what a server does.
const OBSERVED: &str = "Observability";

impl Cli {
    /// The number of threads that connections are spread over.
    pub fn threads(&self) -> usize {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok());
        threads.map_or(1, NonZeroUsize::get)
    }

    /// Reads a command line. A flag of a service that does not run is refused like an unknown one.
    ///
    /// # Errors
    /// What is wrong with the command line, or the help or version that it asks for.
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

/// The flags of a server that do not depend on where it listens.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The services to run.
    #[arg(long, value_delimiter = ',', default_value = "user,post", value_name = "SERVICES")]
    pub serve: Vec<Role>,

    /// The users: JSON lines of {"user_id", "name", "phone_number"?, "age"?}. Without it, five
    /// sample users; if the Post service runs here too, an empty log starts with eight posts of
    /// theirs.
    #[arg(long, value_name = "FILE.jsonl", help_heading = USER)]
    pub users: Option<PathBuf>,

    /// The directory of the post log; made if it is not there.
    #[arg(long, default_value = "./quartet-data", value_name = "DIR", help_heading = POST)]
    pub data: PathBuf,

    /// Keep the log in memory: it ends with the server.
    #[arg(long, conflicts_with_all = ["data", "read_only"], help_heading = POST)]
    pub ephemeral: bool,

    /// Serve what the log holds and change nothing, not even a damaged log.
    #[arg(long, help_heading = POST)]
    pub read_only: bool,

    /// Where the User service is, if it is not in this process.
    #[arg(long, value_name = "URL", help_heading = POST)]
    pub user_endpoint: Option<String>,

    /// How that connection is encrypted.
    #[command(flatten)]
    pub user_tls: UserTls,

    /// A file with the token that the Post service calls the User service with. It is read for
    /// every call.
    ///
    /// The Post service calls as itself: it never passes on its callers' tokens.
    #[arg(long, value_name = "FILE", requires = "user_endpoint", help_heading = POST)]
    pub user_token_file: Option<PathBuf>,

    /// Leave an empty log empty.
    #[arg(long, help_heading = POST)]
    pub no_seed: bool,

    /// How connections are encrypted.
    #[command(flatten)]
    pub tls: TlsFlags,

    /// How callers are authenticated.
    #[command(flatten)]
    pub auth: AuthFlags,

    /// When connections end, and how dead ones are found.
    #[command(flatten)]
    pub keepalive: KeepaliveFlags,

    /// How many calls a user may make.
    #[command(flatten)]
    pub call_limits: CallFlags,

    /// Answer `GET /metrics` on this address, for Prometheus; port 0 picks a free one. Without it,
    /// nothing is counted.
    #[arg(long, value_name = "ADDRESS", help_heading = OBSERVED)]
    pub metrics: Option<SocketAddr>,

    /// Send traces of calls to this collector, by OTLP over gRPC (http://127.0.0.1:4317). Without
    /// it, none are made.
    #[arg(long, value_name = "URL", help_heading = OBSERVED)]
    pub otlp: Option<String>,

    /// Leave out what calls can do without: request ids, access log, metrics, traces, limits. To
    /// measure what they cost.
    #[arg(long, conflicts_with_all = ["metrics", "otlp", "max_calls_per_second", "max_open_calls"], help_heading = OBSERVED)]
    pub bare: bool,

    /// How often clients may ping.
    #[command(flatten)]
    pub enforcement: EnforcementFlags,

    /// Show every HTTP/2 frame that passes, on stderr.
    #[arg(long, help_heading = "Connections")]
    pub frames: bool,

    /// How many connections may be open at once; one more is closed.
    #[arg(long, default_value_t = 10_000, value_name = "N", help_heading = "Connections")]
    pub max_connections: usize,

    /// How long open calls may take to finish when the server stops.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration, help_heading = "Connections")]
    pub drain_timeout: Duration,
}

/// How the Post service reaches a User service with an `https://` endpoint.
#[derive(Debug, Clone, Default, Args)]
pub struct UserTls {
    /// Trust a User service with a certificate of this CA (PEM); without it, of those that the
    /// system trusts.
    #[arg(long, value_name = "FILE", requires = "user_endpoint", help_heading = POST)]
    pub user_ca: Option<PathBuf>,

    /// Show this certificate to the User service (PEM).
    #[arg(long, value_name = "FILE", requires = "user_key", requires = "user_endpoint", help_heading = POST)]
    pub user_cert: Option<PathBuf>,

    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "user_cert", help_heading = POST)]
    pub user_key: Option<PathBuf>,

    /// The name that the User service's certificate must have, if it is not that of the endpoint.
    #[arg(long, value_name = "NAME", requires = "user_endpoint", help_heading = POST)]
    pub user_server_name: Option<String>,
}

impl UserTls {
    /// The same as a client's flags.
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
    /// A server for tests and tours: both services, the log in memory, nothing in it.
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

    /// How connections behave. Without TLS: its files have to be opened.
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

    /// The token of the Post service, which calls the User service as itself.
    pub fn user_token(&self) -> Option<TokenSource> {
        self.user_token_file.clone().map(TokenSource::File)
    }

    /// Whether this process runs a service.
    pub fn runs(&self, role: Role) -> bool {
        self.serve.contains(&role)
    }

    /// Whether an empty log starts with the sample posts. Their writers are the sample users, whom
    /// another User service does not know.
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
