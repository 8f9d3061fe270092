//! The server process with certificates and tokens: how it reloads them, and that its log leaks
//! none.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)] // test code

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use quartet::post::v1::{ListPostsRequest, post_service_client::PostServiceClient};
use quartet_channel::{Channel, Credentials, TlsSettings, TokenSource};
use quartet_client::Error;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a subcommand and returns its output.
fn run(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The exit code and stderr of a command that fails.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = command(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A server process whose log is read. It is killed when it is dropped.
struct Server {
    child: Child,
    endpoint: String,
    /// `None` if the log goes to a file.
    log: Option<BufReader<ChildStderr>>,
}

impl Server {
    /// Starts a server with the files of `server certs` in this directory.
    fn start(certs: &Path, level: &str, log: Stdio) -> Self {
        let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
        let [cert, key, jwks] = ["server.pem", "server.key", "jwks.json"].map(file);
        let args = ["--ephemeral", "--listen", "127.0.0.1:0", "--frames", "--tls-cert", &cert];
        let auth = ["--tls-key", &key, "--jwks", &jwks, "--issuer", "quartet"];
        let args = [&args[..], &auth, &["--audience", "quartet"]].concat();
        let mut command = command(&args);
        command.env("RUST_LOG", level).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let log = child.stderr.take().map(BufReader::new);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let endpoint = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        assert!(endpoint.starts_with("https://"), "{endpoint}");
        Self { child, endpoint, log }
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Reads the log up to a line that contains `wanted`.
    fn logs(&mut self, wanted: &str) {
        let (log, mut line) = (self.log.as_mut().unwrap(), String::new());
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended without {wanted:?}");
        }
    }

    fn channel(&self, certs: &Path, token: &str) -> Channel {
        let tls = TlsSettings { ca: Some(certs.join("ca.pem")), ..TlsSettings::default() };
        let channel = quartet_channel::connect(&self.endpoint, &tls).unwrap();
        let source = TokenSource::Fixed(token.parse().unwrap());
        channel.with_credentials(Credentials::new(source)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn certs(directory: &Path) -> String {
    run(&["certs", directory.to_str().unwrap()]);
    token(directory, &["--scope", "posts.read"])
}

fn token(directory: &Path, more: &[&str]) -> String {
    let key = directory.join("signing.key");
    run(&[&["token", "--sub", "1", "--key", key.to_str().unwrap()], more].concat())
}

async fn list(channel: Channel) -> Result<(), Error> {
    let request = ListPostsRequest::default();
    let mut stream = PostServiceClient::new(channel).list_posts(request).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn certificates_are_reloaded_on_change_and_on_sighup_unless_they_are_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let token = certs(directory.path());
    let mut server = Server::start(directory.path(), "info", Stdio::piped());
    list(server.channel(directory.path(), &token)).await.unwrap();

    run(&["certs", directory.path().to_str().unwrap(), "--renew"]);
    server.logs("the certificates reloaded");
    list(server.channel(directory.path(), &token)).await.unwrap();

    fs::write(directory.path().join("server.key"), "no key").unwrap();
    server.signal("-HUP");
    server.logs("the certificates not reloaded, the old stays in force");
    list(server.channel(directory.path(), &token)).await.unwrap();

    run(&["certs", directory.path().to_str().unwrap(), "--renew"]);
    server.logs("the certificates reloaded");
    list(server.channel(directory.path(), &token)).await.unwrap();
}

#[tokio::test]
async fn a_log_at_trace_level_contains_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let token = certs(directory.path());
    let expired = self::token(directory.path(), &["--ttl", "0s"]);
    // Logs to a file: a full pipe would block the server.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut server = Server::start(directory.path(), "trace", file.reopen().unwrap().into());
    list(server.channel(directory.path(), &token)).await.unwrap();
    for refused in [expired.as_str(), "secret-that-is-no-jwt"] {
        list(server.channel(directory.path(), refused)).await.unwrap_err();
    }
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
    let log = fs::read_to_string(file.path()).unwrap();
    assert!(
        log.contains("recv HEADERS") && log.contains("a token is refused"),
        "the log is detailed"
    );
    let parts = [token.as_str(), &expired].map(|token| token.split('.').collect::<Vec<_>>());
    // Only claims and signature are secret: the header is the same for all tokens.
    let secrets = parts.iter().flat_map(|parts| parts[1..].iter().copied());
    for secret in secrets.chain(["secret-that-is-no-jwt"]) {
        assert!(
            !log.contains(secret),
            "{}",
            log.lines().find(|line| line.contains(secret)).unwrap()
        );
    }
}

#[test]
fn certificates_are_replaced_only_on_request_and_keys_are_readable_only_by_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    run(&["certs", path]);
    let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
    let before = [read("ca.key"), read("server.key"), read("signing.key")];
    let (code, problem) = refused(&["certs", path]);
    assert_eq!(code, Some(1));
    assert!(problem.contains("ca.pem is there already; --renew"), "{problem}");
    assert_eq!([read("ca.key"), read("server.key"), read("signing.key")], before);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let (path, mode) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        let secret = path.extension().unwrap() == "key";
        assert_eq!(mode.permissions().mode() & 0o077 == 0, secret, "{}", path.display());
    }
}

#[test]
fn each_mistake_on_the_command_line_has_an_exit_code_and_a_message() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = directory.path().join("nothing").to_str().unwrap().to_owned();
    for (args, code, problem) in [
        (vec!["token", "--sub", "1", "--key", &nothing], 1, "nothing: No such file"),
        (vec!["token", "--sub", "", "--key", &nothing], 1, "user_id"),
        (
            vec!["token", "--sub", "1", "--scope", "all"],
            2,
            "it must be one of users.read, posts.read",
        ),
        (vec!["certs", &nothing, "--renew"], 1, "ca.key: No such file"),
        (vec!["--tls-cert", &nothing], 2, "--tls-key"),
        (vec!["--client-ca", &nothing], 2, "--tls-cert"),
        (vec!["--jwks", &nothing], 2, "--issuer"),
        (
            vec!["--ephemeral", "--tls-cert", &nothing, "--tls-key", &nothing],
            1,
            "nothing: No such file",
        ),
        (vec!["--user-ca", &nothing], 2, "--user-endpoint"),
    ] {
        let seen = refused(&args);
        assert_eq!(seen.0, Some(code), "{args:?}: {}", seen.1);
        assert!(seen.1.contains(problem), "{args:?}: {}", seen.1);
    }
}
