//! What a server can be told, as its flags. `server --help` is made of the comments here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum};

/// The server of Quartet: an ordered log of posts behind the four gRPC RPC kinds.
///
/// It prints `listening on http://ADDRESS` on stdout once it takes calls, logs on stderr (RUST_LOG chooses what), and
/// drains on Ctrl-C or SIGTERM.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES)]
pub struct Cli {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// The rest.
    #[command(flatten)]
    pub config: Config,
}

const EXAMPLES: &str = "\
Examples:
  server                                  both services, posts in ./quartet-data
  server --ephemeral --listen 127.0.0.1:0 a server to try things on
  server --serve user --listen 127.0.0.1:9000
  server --serve post --user-endpoint http://127.0.0.1:9000
                                          the same as two microservices

Then, in another terminal:
  server-streaming --follow               every post, and new ones as they come
  bidirectional --tag streaming           join a tag, type posts";

/// What a server does, wherever it listens.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The directory of the post log; made if it is not there.
    #[arg(long, default_value = "./quartet-data", value_name = "DIR")]
    pub data: PathBuf,

    /// Keep the log in memory: it ends with the server.
    #[arg(long, conflicts_with_all = ["data", "read_only"])]
    pub ephemeral: bool,

    /// Serve what the log holds and change nothing, not even a damaged log.
    #[arg(long)]
    pub read_only: bool,

    /// The services to run.
    #[arg(long, value_delimiter = ',', default_value = "user,post", value_name = "SERVICES")]
    pub serve: Vec<Role>,

    /// Where the User service is, if it is not in this process.
    #[arg(long, value_name = "URL")]
    pub user_endpoint: Option<String>,

    /// The users: JSON lines of {"user_id", "name", "phone_number"?, "age"?}. Without it, five sample users, and an
    /// empty log starts with eight posts of theirs.
    #[arg(long, value_name = "FILE.jsonl")]
    pub users: Option<PathBuf>,

    /// Leave an empty log empty.
    #[arg(long)]
    pub no_seed: bool,

    /// How long open calls may take to finish when the server stops.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,
}

/// A service that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Who users are.
    User,
    /// Their posts.
    Post,
}

impl Config {
    /// A server for tests and tours: both services, the log in memory, nothing in it.
    pub fn ephemeral() -> Self {
        Self {
            data: PathBuf::new(),
            ephemeral: true,
            read_only: false,
            serve: vec![Role::User, Role::Post],
            user_endpoint: None,
            users: None,
            no_seed: true,
            drain_timeout: Duration::from_secs(10),
        }
    }

    /// Whether this process runs a service.
    pub fn runs(&self, role: Role) -> bool {
        self.serve.contains(&role)
    }
}
