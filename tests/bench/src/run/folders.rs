//! Where the server, the peers and the results of a run are.

use std::{env, fs, path::PathBuf, process::Command};

use crate::error::Result;

/// Where things are.
#[derive(Debug)]
pub(super) struct Folders {
    /// Our server's binary.
    pub(super) server: PathBuf,
    /// Of what the bench makes.
    pub(super) bench: PathBuf,
}

impl Folders {
    /// Our server is beside this binary, unless another one is to be measured.
    pub(super) fn find(server: Option<PathBuf>) -> Result<Self> {
        let this = env::current_exe()?;
        let release = this.parent().ok_or("no folder of binaries")?;
        let server = server.unwrap_or_else(|| release.join("server"));
        if !server.exists() {
            let build = "cargo build --release --workspace --bin server --bin bench";
            return Err(format!("{} is missing: {build}", server.display()).into());
        }
        let bench = release.parent().ok_or("no target folder")?.join("bench");
        let folders = Self { server, bench };
        fs::create_dir_all(folders.programs())?;
        Ok(folders)
    }

    /// A program that is beside what cargo builds, in `tools/bin`, or on the PATH.
    pub(super) fn tool(&self, name: &str) -> Command {
        let installed = self.bench.with_file_name("tools").join("bin").join(name);
        Command::new(if installed.exists() { installed } else { name.into() })
    }

    /// Of peers that were built.
    pub(super) fn programs(&self) -> PathBuf {
        self.bench.join("bin")
    }
}
