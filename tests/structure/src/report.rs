//! The whole picture of a workspace as text: its crates as a diagram, and their files in layers.

use std::{error::Error, fmt::Write as _};

use crate::{
    imports::imports,
    picture,
    workspace::{Package, Workspace},
};

/// The width of the picture, as wide as a page's code block may be.
const COLUMNS: usize = 110;

/// Draws a workspace. The last line counts the import circles.
///
/// # Errors
/// A source file cannot be read.
pub fn report(workspace: &Workspace) -> Result<String, Box<dyn Error>> {
    let mut out =
        String::from("Crates. An arrow points at a crate that another one above it needs.\n\n");
    writeln!(out, "{}", picture::diagram(&workspace.graph()))?;
    writeln!(out, "Files. Each imports only from layers below its own.\n")?;
    let mut circles = 0;
    for package in &workspace.packages {
        circles += draw_files(&mut out, package)?;
    }
    writeln!(out, "Import circles between files: {circles}")?;
    Ok(out)
}

/// Draws the files of a crate's library and binaries; returns the number of circles.
fn draw_files(out: &mut String, package: &Package) -> Result<usize, Box<dyn Error>> {
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
