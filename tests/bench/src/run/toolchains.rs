//! Peers in other languages, each built if its toolchain is present. Peers that cannot be built are
//! reported and left out.

use std::{fs, path::Path, process::Command};

use super::process::Folders;
use crate::{Result, say};

mod cpp;
mod go;
mod python;

/// A server that cargo does not build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    GrpcGo,
    GrpcCpp,
    GrpcPython,
    Nats,
}

impl Foreign {
    fn name(self) -> &'static str {
        match self {
            Foreign::GrpcGo => "grpc-go",
            Foreign::GrpcCpp => "gRPC C++",
            Foreign::GrpcPython => "gRPC Python",
            Foreign::Nats => "NATS",
        }
    }

    /// Builds the peer and returns its versions.
    fn build(self, folders: &Folders) -> Result<String> {
        match self {
            Foreign::GrpcGo => go::grpc(folders),
            Foreign::GrpcCpp => cpp::build(folders),
            Foreign::GrpcPython => python::build(folders),
            Foreign::Nats => go::nats(folders),
        }
    }

    /// Starts it on a free port of loopback.
    pub(super) fn command(self, folders: &Folders) -> Command {
        match self {
            Foreign::GrpcGo => Command::new(folders.programs().join("grpc-go")),
            Foreign::GrpcCpp => Command::new(folders.programs().join("grpc-cpp")),
            Foreign::GrpcPython => python::command(folders),
            Foreign::Nats => {
                let mut command = Command::new(folders.programs().join("nats-server"));
                command.args(["-a", "127.0.0.1", "-p", "-1"]);
                command
            }
        }
    }
}

/// The peers that could be built, with their versions.
#[derive(Debug, Default)]
pub(super) struct Built(Vec<(Foreign, String)>);

impl Built {
    /// Tries to build each of these once.
    pub(super) fn of(wanted: impl Iterator<Item = Foreign>, folders: &Folders) -> Self {
        let (mut tried, mut built) = (Vec::new(), Vec::new());
        for foreign in wanted {
            if tried.contains(&foreign) {
                continue;
            }
            tried.push(foreign);
            match foreign.build(folders) {
                Ok(version) => built.push((foreign, version)),
                Err(error) => say(&format!("without {}: {error}", foreign.name())),
            }
        }
        Self(built)
    }

    pub(super) fn has(&self, foreign: Foreign) -> bool {
        self.0.iter().any(|(built, _)| *built == foreign)
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, version)| version.as_str())
    }
}

/// The sources of a peer.
fn sources(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers").join(name)
}

/// The output of a command, if it succeeds.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| {
        format!("{} cannot be run: {error}", command.get_program().to_string_lossy())
    })?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {why}").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Repeats slow work only if its input has changed, which the file `mark` records.
fn once(mark: &Path, depends_on: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(mark).is_ok_and(|it| it == depends_on) {
        return Ok(());
    }
    work()?;
    Ok(fs::write(mark, depends_on)?)
}
