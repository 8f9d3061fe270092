//! Steps by which the toolchains build.

use std::{fs, path::Path, process::Command};

use crate::error::Result;

/// The sources of a peer.
pub(super) fn sources(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers").join(name)
}

/// What a command says, if it succeeds.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| {
        format!("{} cannot be run: {error}", command.get_program().to_string_lossy())
    })?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {why}").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Repeats long work only if `depends_on` has changed since the file `mark` was written.
pub(super) fn once(mark: &Path, depends_on: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(mark).is_ok_and(|it| it == depends_on) {
        return Ok(());
    }
    work()?;
    Ok(fs::write(mark, depends_on)?)
}
