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

use quartet_structure::{
    imports::imports,
    picture,
    workspace::{Package, Workspace},
};

/// The width of the picture, as wide as a page's code block may be.
const COLUMNS: usize = 110;

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
    print(&mut out, &Workspace::read(&root)?)?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, workspace: &Workspace) -> Result<(), Box<dyn Error>> {
    writeln!(out, "Crates. An arrow points at a crate that another one above it needs.\n")?;
    writeln!(out, "{}", picture::diagram(&workspace.graph()))?;
    writeln!(out, "Files. Each imports only from layers below its own.\n")?;
    let mut circles = 0;
    for package in &workspace.packages {
        circles += print_files(out, package)?;
    }
    writeln!(out, "Import circles between files: {circles}")?;
    Ok(())
}

/// Prints the files of a crate's library and binaries; returns the number of circles.
fn print_files(out: &mut impl Write, package: &Package) -> Result<usize, Box<dyn Error>> {
    let mut circles = 0;
    for target in package.targets.iter().filter(|target| target.is("lib") || target.is("bin")) {
        let files = imports(&target.src_path)?;
        circles += files.circles().len();
        // Most binaries are one file.
        if target.is("bin") && files.nodes().count() == 1 {
            continue;
        }
        let kind = if target.is("lib") { String::new() } else { format!(", bin {}", target.name) };
        writeln!(out, "{}{kind}\n", package.name)?;
        writeln!(out, "{}", picture::layers(&files, COLUMNS))?;
    }
    Ok(circles)
}
