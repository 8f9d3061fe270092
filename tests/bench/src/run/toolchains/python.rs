//! The peer in Python, with grpcio in a virtual environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    super::folders::Folders,
    build::{once, output, sources},
};
use crate::{console::say, error::Result, proto::DESCRIPTORS};

pub(super) fn build(folders: &Folders) -> Result<String> {
    let version = output(Command::new("python3").arg("--version"))?;
    let requirements = sources("grpc-python").join("requirements.txt");
    let needed = fs::read_to_string(&requirements)?;
    let home = home(folders);
    fs::create_dir_all(&home)?;
    fs::write(home.join("descriptors.bin"), DESCRIPTORS)?;
    once(&home.join("installed"), &format!("{version}\n{needed}"), || {
        install(&home, &requirements)
    })?;
    let grpcio = needed.lines().find_map(|line| line.strip_prefix("grpcio=="));
    Ok(format!("grpcio {} on {version}", grpcio.unwrap_or("unknown")))
}

fn install(home: &Path, requirements: &Path) -> Result<()> {
    say("installing grpcio for the peer in Python");
    output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home.join("venv")))?;
    let mut pip = Command::new(home.join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    output(pip.arg(requirements)).map(drop)
}

pub(super) fn command(folders: &Folders) -> Command {
    let mut command = Command::new(home(folders).join("venv/bin/python"));
    command.arg(sources("grpc-python").join("main.py"));
    command.arg(home(folders).join("descriptors.bin"));
    command
}

fn home(folders: &Folders) -> PathBuf {
    folders.bench.join("grpc-python")
}
