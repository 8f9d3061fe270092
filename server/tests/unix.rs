//! The server process on a unix socket.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // test code

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// A server process. It is killed when it is dropped.
struct Server(Child);

impl Server {
    /// Starts a server and waits for its first line.
    fn start(listen: &str) -> Self {
        let args = ["--ephemeral", "--listen", listen];
        let mut child = command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), format!("listening on {listen}"));
        Self(child)
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_serving(endpoint: &str) -> bool {
    output(&["health", "--endpoint", endpoint]).status.success()
}

#[test]
fn a_server_on_a_unix_socket_removes_it_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let mut server = Server::start(&listen);
    assert!(is_serving(&listen));

    let refused = output(&["--ephemeral", "--listen", &listen]);
    assert_eq!(refused.status.code(), Some(1));
    let problem = format!("another process serves on {}", path.display());
    assert!(stderr(&refused).contains(&problem), "{}", stderr(&refused));
    assert!(is_serving(&listen), "the first server still serves");

    server.signal("-TERM");
    assert!(server.0.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn a_socket_that_a_killed_server_left_behind_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    drop(Server::start(&listen));
    assert!(path.exists(), "a killed server cannot remove it");
    let _server = Server::start(&listen);
    assert!(is_serving(&listen));
}

#[test]
fn tls_on_a_unix_socket_is_a_usage_error() {
    let tls = ["--tls-cert", "a.pem", "--tls-key", "a.key"];
    let refused = output(&[&["--listen", "unix:socket"][..], &tls].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("a unix socket is protected by its mode"));
    assert!(!Path::new("socket").exists());
}
