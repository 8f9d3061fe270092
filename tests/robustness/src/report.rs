//! Output of this package's programs: lines on stdout and saved histories.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use quartet_check::History;

/// Writes a line to stdout.
pub fn print(line: &str) {
    // A closed stdout is ignored: the exit code still reports the result.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Saves a history in a folder, for `quartet-check`, and prints its path.
pub fn save(folder: &Path, history: &History) {
    let seed = history.run.seed;
    let path = folder.join(format!("history.{seed}.jsonl"));
    let saved = fs::create_dir_all(folder).and_then(|()| fs::write(&path, history.to_lines()));
    print(&match saved {
        Ok(()) => format!("seed {seed}: saved as {}", path.display()),
        Err(error) => format!("seed {seed}: cannot save {}: {error}", path.display()),
    });
}
