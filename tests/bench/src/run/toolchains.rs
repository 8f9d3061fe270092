//! Peers of other languages, each built when its toolchain is there. What cannot be built is named
//! and left out.

use std::process::Command;

use super::folders::Folders;
use crate::{console::say, error::Result};

mod build;

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

    /// Builds it and says which versions it is of.
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

/// What could be built, with its versions.
#[derive(Debug, Default)]
pub(super) struct Built(Vec<(Foreign, String)>);

impl Built {
    /// Builds each of these that it can, once.
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
