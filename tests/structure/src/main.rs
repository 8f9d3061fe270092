//! Prints the structure of a workspace: its crates as a diagram, and the files of each in layers.
//!
//! `cargo run -p quartet-structure [-- --root PATH]`

use std::{
    env,
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use quartet_structure::{report::report, workspace::Workspace};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    let root = match args[..] {
        [] => PathBuf::from("."),
        ["--root", path] => path.into(),
        _ => {
            writeln!(out, "usage: structure [--root PATH]")?;
            return Ok(ExitCode::from(2));
        }
    };
    out.write_all(report(&Workspace::read(&root)?)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
