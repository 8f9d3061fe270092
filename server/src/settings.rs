//! The settings of a server, for programs that embed one. The binary makes them from its flags.

use std::{net::SocketAddr, path::PathBuf};

use quartet_channel::{TlsSettings as ClientTls, TokenSource};
use quartet_connection::{self as connection, tls::TlsFiles};
use quartet_log::disk::Access;

use crate::{auth::AuthSettings, error, layers::limits::CallLimits};

/// The settings of a server. Default: both services in plaintext, for everyone, with the sample
/// users and an empty log in memory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The services to run. Default: both.
    pub serve: Vec<Role>,
    /// The log of the Post service.
    pub log: LogSettings,
    /// The users, and how the Post service reaches them.
    pub users: UserSettings,
    /// The files of TLS, which are reloaded when they change. `None`: as in `connections`, which
    /// has plaintext by default.
    pub tls: Option<TlsFiles>,
    /// How callers are authenticated. Default: not at all.
    pub auth: AuthSettings,
    /// Limits of a user's calls. Default: none.
    pub call_limits: CallLimits,
    /// Whether answers are compressed for callers that can read it. Default: no.
    pub compress_answers: bool,
    /// Connections: their limits, keepalive, the time to drain, and the threads that serve them.
    pub connections: connection::Settings,
    /// Metrics.
    pub observability: ObservabilitySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            serve: vec![Role::User, Role::Post],
            log: LogSettings::default(),
            users: UserSettings::default(),
            tls: None,
            auth: AuthSettings::default(),
            call_limits: CallLimits::default(),
            compress_answers: false,
            connections: connection::Settings {
                statuses: error::statuses(),
                ..connection::Settings::default()
            },
            observability: ObservabilitySettings::default(),
        }
    }
}

impl Settings {
    /// Whether this process runs the service.
    pub fn runs(&self, role: Role) -> bool {
        self.serve.contains(&role)
    }

    /// Whether there are files that are reloaded: of TLS and of tokens.
    pub fn has_files(&self) -> bool {
        self.tls.is_some() || self.auth.issuer.is_some()
    }

    /// Whether an empty log gets the sample posts. Only with the sample users: another User service
    /// does not know their writers.
    pub fn seeds(&self) -> bool {
        let has_sample_users =
            self.runs(Role::User) && self.users.file.is_none() && self.users.remote.is_none();
        has_sample_users && self.log.seed && self.log.storage.is_writable()
    }
}

/// A service that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The users.
    User,
    /// Their posts.
    Post,
}

/// The log of the Post service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Where posts are stored. Default: in memory.
    pub storage: Storage,
    /// Whether an empty log starts with sample posts, if the users are the sample users. Default:
    /// no.
    pub seed: bool,
}

impl LogSettings {
    /// A log in this directory, which is created if it is missing.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let storage = Storage::Directory { path: path.into(), access: Access::Write };
        Self { storage, ..Self::default() }
    }
}

/// Where posts are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory, until the server ends.
    #[default]
    Memory,
    /// In files.
    Directory {
        /// The directory of the files.
        path: PathBuf,
        /// With [`Access::Read`], posts are served and nothing is changed, not even to repair a
        /// damaged log.
        access: Access,
    },
}

impl Storage {
    fn is_writable(&self) -> bool {
        !matches!(self, Storage::Directory { access: Access::Read, .. })
    }
}

/// The users, and how the Post service reaches them.
#[derive(Debug, Clone, Default)]
pub struct UserSettings {
    /// A file of users, as JSON lines, for the User service of this process. Default: five sample
    /// users.
    pub file: Option<PathBuf>,
    /// A User service elsewhere, which the Post service calls. Default: that of this process.
    pub remote: Option<UserEndpoint>,
}

/// A User service in another process.
#[derive(Debug, Clone)]
pub struct UserEndpoint {
    /// Its address.
    pub url: String,
    /// How connections to an `https://` address are encrypted.
    pub tls: ClientTls,
    /// The source of the Post service's token. The Post service calls in its own name: it never
    /// forwards its callers' tokens.
    pub token: Option<TokenSource>,
}

impl UserEndpoint {
    /// The User service at this address, without a token or certificates of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), tls: ClientTls::default(), token: None }
    }
}

/// Metrics, and what else is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObservabilitySettings {
    /// The address of the metrics endpoint; port 0 picks a free port. Default: no metrics.
    pub metrics: Option<SocketAddr>,
    /// Leaves out optional layers, to measure their cost: request ids, access log, metrics, traces,
    /// limits. Default: no.
    pub bare: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_posts_come_only_with_the_sample_users_into_a_log_that_is_written() {
        let seeding = |log: LogSettings| Settings {
            log: LogSettings { seed: true, ..log },
            ..Settings::default()
        };
        assert!(!Settings::default().seeds(), "an embedded server starts empty");
        assert!(seeding(LogSettings::default()).seeds());
        assert!(seeding(LogSettings::directory("x")).seeds());
        let storage = Storage::Directory { path: "x".into(), access: Access::Read };
        assert!(!seeding(LogSettings { storage, seed: true }).seeds());
        let remote = Some(UserEndpoint::new("http://[::1]:1"));
        let users = UserSettings { remote, ..UserSettings::default() };
        assert!(!Settings { users, ..seeding(LogSettings::default()) }.seeds());
    }
}
