//! Reads the pages: their links, anchors, includes and the files that they name.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use super::pattern::regex;

/// The top of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Markdown file.
pub(super) struct Page {
    /// From the top of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A place in another file that a page points at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// From the top of the repository.
    pub(super) path: PathBuf,
    pub(super) anchor: Option<String>,
}

/// All pages: those of the book, and those at the top of the repository.
pub(super) fn pages() -> Vec<Page> {
    let mut paths = files("docs", "md");
    paths.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(PathBuf::from));
    paths.retain(|path| root().join(path).exists());
    paths.into_iter().map(|path| Page { text: read(&path).unwrap(), path }).collect()
}

/// All files below a folder with an extension, in the order of their names.
pub(super) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, by its path from the top of the repository.
pub(super) fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(root().join(path))
}

impl Page {
    /// The links to pages of the repository. Links to elsewhere are not followed.
    pub(super) fn links(&self) -> Vec<Pointer> {
        static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r"\]\(([^)\s]+)\)"));
        let prose = without_code(&self.text);
        let targets = LINK.captures_iter(&prose).map(|found| found[1].to_owned());
        targets
            .filter(|target| !target.contains("://"))
            .map(|target| self.pointer(&target, '#'))
            .collect()
    }

    /// The code that mdBook includes: `{{#include FILE:ANCHOR}}`.
    pub(super) fn includes(&self) -> Vec<Pointer> {
        static INCLUDE: LazyLock<Regex> = LazyLock::new(|| regex(r"\{\{#include ([^}\s]+)\}\}"));
        INCLUDE.captures_iter(&self.text).map(|found| self.pointer(&found[1], ':')).collect()
    }

    /// The files that the prose names in code type: paths into the folders of the repository.
    pub(super) fn named_files(&self) -> BTreeSet<PathBuf> {
        static NAMED: LazyLock<Regex> =
            LazyLock::new(|| regex(r"`((?:proto|server|client|tests|docs)/[A-Za-z0-9_./-]+)`"));
        NAMED.captures_iter(&self.text).map(|found| PathBuf::from(&found[1])).collect()
    }

    /// The anchors that mdBook makes of the headings.
    pub(super) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for heading in self.headings() {
            let anchor = slug(heading);
            let mut names = (1..).map(|n| format!("{anchor}-{n}"));
            let mut name = anchor.clone();
            while !anchors.insert(name) {
                name = names.next().unwrap();
            }
        }
        anchors
    }

    /// The headings, without their marks.
    pub(super) fn headings(&self) -> Vec<&str> {
        let mut in_code = false;
        let lines = self.text.lines().filter(|line| {
            in_code ^= line.starts_with("```");
            !in_code && line.starts_with('#')
        });
        lines.map(|line| line.trim_start_matches('#').trim()).collect()
    }

    fn pointer(&self, target: &str, separator: char) -> Pointer {
        let (file, anchor) = match target.split_once(separator) {
            Some((file, anchor)) => (file, Some(anchor.to_owned())),
            None => (target, None),
        };
        let path = match file {
            "" => self.path.clone(),
            file => normal(&self.path.parent().unwrap_or(Path::new("")).join(file)),
        };
        Pointer { path, anchor }
    }
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            component => normal.push(component),
        }
    }
    normal
}

/// The prose of a page: no fenced blocks, nothing in code type.
fn without_code(text: &str) -> String {
    static CODE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s)```.*?\n```|`[^`\n]*`"));
    CODE.replace_all(text, "").into_owned()
}

fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_mdbook_reads_it() {
        let text = "\
# A b_c — `foo`(x) & 1.2
## Two
## Two
```text
# no heading, [no](link.md)
{{#include ../../server/src/lib.rs:map}}
```
[a](../a.md#two), [b](#two-1), [c](https://example.org), `[d](d.md)` and `server/src/lib.rs`
";
        let page = Page { path: "docs/walkthrough/x.md".into(), text: text.into() };
        let pointer =
            |path: &str, anchor: &str| Pointer { path: path.into(), anchor: Some(anchor.into()) };
        assert_eq!(
            page.links(),
            [pointer("docs/a.md", "two"), pointer("docs/walkthrough/x.md", "two-1")]
        );
        assert_eq!(page.includes(), [pointer("server/src/lib.rs", "map")]);
        assert_eq!(page.named_files(), [PathBuf::from("server/src/lib.rs")].into());
        assert_eq!(page.anchors(), ["a-b_c--foox--12", "two", "two-1"].map(String::from).into());
    }
}
