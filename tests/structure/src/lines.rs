//! Lines that are too long: Rust code of more than 100 columns, Markdown prose of more than 120.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Most columns of a line of Rust. A table in a comment may be wider.
pub const RUST_COLUMNS: usize = 100;
/// Most columns of a line of Markdown prose. Tables, blocks of code and lines with a URL may be
/// longer.
pub const MARKDOWN_COLUMNS: usize = 120;

/// A line that is too long.
#[derive(Debug, PartialEq, Eq)]
pub struct LongLine {
    /// The file.
    pub path: PathBuf,
    /// Its number, from 1.
    pub number: usize,
    /// Its length in characters.
    pub columns: usize,
}

/// All lines that are too long, in every Rust and Markdown file below a folder. Folders named
/// `target`, `artifacts` or `corpus` and hidden ones are left out.
///
/// # Errors
/// A file or folder cannot be read.
pub fn long_lines(root: &Path) -> io::Result<Vec<LongLine>> {
    let mut found = Vec::new();
    for path in files(root)? {
        let text = fs::read_to_string(&path)?;
        let lines = match path.extension() {
            Some(extension) if extension == "rs" => over(&text, RUST_COLUMNS, |line| {
                !line.trim_start().trim_start_matches(['/', '!', ' ']).starts_with('|')
            }),
            _ => over(&prose(&text), MARKDOWN_COLUMNS, |line| !line.contains("://")),
        };
        found.extend(lines.into_iter().map(|(number, columns)| LongLine {
            path: path.clone(),
            number,
            columns,
        }));
    }
    Ok(found)
}

fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let skipped =
                name.starts_with('.') || ["target", "artifacts", "corpus"].contains(&&*name);
            if entry.file_type()?.is_dir() && !skipped {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "md")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The numbers and lengths of lines over a limit that count.
fn over(text: &str, limit: usize, counts: impl Fn(&str) -> bool) -> Vec<(usize, usize)> {
    let lines = text.lines().enumerate().filter(|(_, line)| counts(line));
    let lengths = lines.map(|(n, line)| (n + 1, line.chars().count()));
    lengths.filter(|(_, columns)| *columns > limit).collect()
}

/// Markdown with its tables and blocks of code emptied.
fn prose(text: &str) -> String {
    let (mut fence, mut prose) = (None, String::new());
    for line in text.lines() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(close)) if open == close => fence = None,
            (None, None) if !start.starts_with('|') => prose.push_str(line),
            _ => {}
        }
        prose.push('\n');
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_code_have_their_limits_and_tables_and_urls_none() {
        let folder = tempfile::tempdir().unwrap();
        let (long, fits) = ("ä".repeat(121), "ä".repeat(120));
        let page = format!("{fits}\n{long}\n| {long} |\n```text\n{long}\n```\nhttps://{long}\n");
        fs::write(folder.path().join("page.md"), page).unwrap();
        let code = format!("// {0}\n// x{0}\n//! | {0} |\n", "x".repeat(97));
        fs::write(folder.path().join("code.rs"), code).unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("target/built.rs"), long).unwrap();
        let found = long_lines(folder.path()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|line| {
                (line.path.extension().unwrap().to_str().unwrap(), line.number, line.columns)
            })
            .collect();
        assert_eq!(found, [("rs", 2, 101), ("md", 2, 121)]);
    }
}
