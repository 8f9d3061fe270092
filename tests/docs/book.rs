//! Reads the pages: their links, anchors, includes and the files that they name.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use super::pattern::regex;

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Markdown file.
pub(super) struct Page {
    /// Relative to the root of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A place in another file to which a page points.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Relative to the root of the repository.
    pub(super) path: PathBuf,
    pub(super) anchor: Option<String>,
}

/// All pages: those of the book, and those at the root of the repository.
pub(super) fn pages() -> Vec<Page> {
    let mut paths = files("docs", "md");
    paths.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(PathBuf::from));
    paths.retain(|path| root().join(path).exists());
    paths.into_iter().map(|path| Page { text: read(&path).unwrap(), path }).collect()
}

/// All files with an extension below a folder, sorted by path.
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

/// The text of a file, by its path from the root of the repository.
pub(super) fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(root().join(path))
}

impl Page {
    /// The links to files of the repository, without external links.
    pub(super) fn links(&self) -> Vec<Pointer> {
        static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r"\]\(([^)\s]+)\)"));
        let prose = without_code(&self.text);
        let targets = LINK.captures_iter(&prose).map(|found| found[1].to_owned());
        targets
            .filter(|target| !target.contains("://"))
            .map(|target| self.pointer(&target, '#'))
            .collect()
    }

    /// The same, each with its text.
    pub(super) fn titled_links(&self) -> Vec<(&str, Pointer)> {
        static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r"\[([^\]]+)\]\(([^)\s]+)\)"));
        let links = LINK.captures_iter(&self.text).map(|found| found.extract().1);
        links.map(|[title, target]| (title, self.pointer(target, '#'))).collect()
    }

    /// The rows of all tables, as written.
    pub(super) fn table_rows(&self) -> Vec<&str> {
        self.prose_lines().filter(|line| line.starts_with('|')).collect()
    }

    /// The code that the page shows.
    pub(super) fn includes(&self) -> Vec<Pointer> {
        self.prose_lines().flat_map(|line| self.includes_of(line)).collect()
    }

    /// The files that the prose names in code type: paths into the folders of the repository.
    pub(super) fn named_files(&self) -> BTreeSet<PathBuf> {
        static NAMED: LazyLock<Regex> =
            LazyLock::new(|| regex(r"`((?:proto|server|client|tests|docs)/[A-Za-z0-9_./-]+)`"));
        NAMED.captures_iter(&self.text).map(|found| PathBuf::from(&found[1])).collect()
    }

    /// The anchors that mdBook makes from the headings.
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
        let headings = self.prose_lines().filter(|line| line.starts_with('#'));
        headings.map(|line| line.trim_start_matches('#').trim()).collect()
    }

    /// The lines outside fenced blocks.
    fn prose_lines(&self) -> impl Iterator<Item = &str> {
        let mut in_code = false;
        self.text.lines().filter(move |line| {
            in_code ^= line.starts_with("```");
            !in_code
        })
    }

    pub(super) fn pointer(&self, target: &str, separator: char) -> Pointer {
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

/// The prose of a page: without fenced blocks and text in code type.
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
<!-- code: ../../server/src/lib.rs:map -->

```text
# no heading, [no](link.md)
<!-- code: no.rs -->
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
