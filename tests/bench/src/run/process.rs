//! The processes of one trial: a server and a load. They end with it.

use std::{
    env, fs,
    io::{BufRead, BufReader, PipeReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    folders::Folders,
    toolchains::Foreign,
    works::{Case, Server},
};
use crate::{error::Result, posts, usage::Figures};

/// Starts the server, fills it, puts the load on it, and ends it.
pub(super) fn play(case: &Case, folders: &Folders) -> Result<Figures> {
    let trial = Trial::prepare(case, folders)?;
    measure(trial.load(case)?)
}

/// All that a load needs, until the end of this.
#[derive(Debug)]
pub(super) struct Trial {
    data: TempDir,
    server: Option<Running>,
}

impl Trial {
    pub(super) fn prepare(case: &Case, folders: &Folders) -> Result<Self> {
        let mut trial = Self { data: TempDir::new_in(&folders.bench)?, server: None };
        if case.server == Server::None {
            return Ok(trial);
        }
        fs::write(trial.data.path().join("users.jsonl"), users())?;
        trial.start(case.server, folders)?;
        if case.fill > 0 && case.server != Server::Peer("raw-tcp") {
            let count = case.fill.to_string();
            measure(trial.command(&["upload".to_owned(), "--count".to_owned(), count])?)?;
            if case.server == Server::Disk {
                trial.start(case.server, folders)?;
            }
        }
        Ok(trial)
    }

    /// Starts the server, or a new process of it.
    fn start(&mut self, server: Server, folders: &Folders) -> Result<()> {
        self.server = None; // the one before lets go of its log
        self.server = Some(Running::start(server, folders, self.data.path())?);
        Ok(())
    }

    /// The server's process.
    pub(super) fn server(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.child.id())
    }

    /// The load, which is not started yet.
    pub(super) fn load(&self, case: &Case) -> Result<Command> {
        self.command(&case.load)
    }

    fn command(&self, load: &[String]) -> Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("load").args(load).arg("--dir").arg(self.data.path());
        if let Some(server) = &self.server {
            let pid = server.child.id().to_string();
            command.args(["--address", server.address.as_str(), "--pid", pid.as_str()]);
            command.args(server.ca.iter().flat_map(|ca| ["--ca".as_ref(), ca.as_os_str()]));
        }
        Ok(command)
    }
}

/// Runs a load to its end.
pub(super) fn measure(mut load: Command) -> Result<Figures> {
    let output = load.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("it failed: {load:?}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A line for every user.
fn users() -> String {
    let line = |index| {
        let id = posts::user_id(index);
        format!("{{\"user_id\": \"{id}\", \"name\": \"{}\"}}\n", posts::author(&id))
    };
    (0..posts::USERS).map(line).collect()
}

/// A server that runs; it is ended with this.
#[derive(Debug)]
struct Running {
    child: Child,
    address: String,
    /// Whom the load has to trust.
    ca: Option<PathBuf>,
    /// Kept open: a server that logs into a closed pipe ends.
    _output: BufReader<PipeReader>,
}

impl Running {
    fn start(server: Server, folders: &Folders, data: &Path) -> Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        let mut command = command(server, folders, data)?;
        command.stdin(Stdio::null()).env("RUST_LOG", "warn");
        if server == Server::Whole {
            // The lines are written, and nobody has to look at them.
            command.env("RUST_LOG", "info").stderr(Stdio::null());
        }
        if server == Server::Foreign(Foreign::Nats) {
            command.stderr(writer)
        } else {
            command.stdout(writer)
        };
        let child = command.spawn()?;
        drop(command); // and with it our end of the pipe: a server that fails closes the last one
        let ca = (server == Server::Tls).then(|| data.join("certs/ca.pem"));
        let output = BufReader::new(reader);
        let mut running = Self { child, address: String::new(), ca, _output: output };
        running.address = address(&mut running._output)?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(server: Server, folders: &Folders, data: &Path) -> Result<Command> {
    let command = match server {
        Server::Memory | Server::Disk | Server::Bare | Server::Whole | Server::Tls => {
            ours(server, folders, data)?
        }
        Server::Peer(peer) => {
            let mut command = Command::new(env::current_exe()?);
            command.args(["serve", peer]);
            command
        }
        Server::Foreign(foreign) => foreign.command(folders),
        Server::None => return Err("no server".into()),
    };
    Ok(command)
}

fn ours(server: Server, folders: &Folders, data: &Path) -> Result<Command> {
    let mut command = Command::new(&folders.server);
    command.args(["--no-seed", "--listen", "127.0.0.1:0", "--users"]);
    command.arg(data.join("users.jsonl"));
    match server {
        Server::Disk => command.arg("--data").arg(data.join("log")),
        _ => command.arg("--ephemeral"),
    };
    match server {
        Server::Bare => command.arg("--bare"),
        Server::Tls => {
            let certs = data.join("certs");
            let made = Command::new(&folders.server).arg("certs").arg(&certs).output()?;
            if !made.status.success() {
                return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
            }
            let (cert, key) = (certs.join("server.pem"), certs.join("server.key"));
            command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key)
        }
        // Limits that no load meets, so that what is measured is that they are looked at.
        Server::Whole => command.args(["--metrics", "127.0.0.1:0"]).args([
            "--max-calls-per-second",
            "1000000",
            "--max-open-calls",
            "1000000",
        ]),
        _ => &mut command,
    };
    Ok(command)
}

/// Reads what the server says until it says where it listens.
fn address(output: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        let quartet = line
            .split_once("listening on http://")
            .or_else(|| line.split_once("listening on https://"));
        let nats = line.split_once("Listening for client connections on ");
        if let Some((_, address)) = quartet.or(nats) {
            return Ok(address.trim().to_owned());
        }
        line.clear();
    }
    Err("the server did not start".into())
}
