//! Checks that tables and pages link the page of each subject that they mention.
//!
//! A subject is the title of a page in `docs/SUMMARY.md`. A text mentions it if it has all words of
//! the title: "server-side streaming" mentions "Server streaming".

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::book::Page;

/// Words of a title that do not identify its subject.
const FILLERS: [&str; 8] = ["a", "after", "and", "for", "from", "the", "this", "to"];

/// Phrases by which a table denies that the suite has something.
const DENIALS: [&str; 2] = ["not here", "not in this suite"];

/// A page of the book and the words of its title.
struct Subject {
    page: PathBuf,
    words: BTreeSet<String>,
}

impl Subject {
    fn all(summary: &Page) -> Vec<Self> {
        let links = summary.titled_links().into_iter();
        links.map(|(title, link)| Self { page: link.path, words: words(title) }).collect()
    }

    fn is_mentioned(&self, text: &str) -> bool {
        self.words.is_subset(&words(text))
    }
}

/// The pages of the summary that no other page links.
pub(super) fn orphans(summary: &Page, pages: &[Page]) -> Vec<PathBuf> {
    let is_linked = |path: &Path| {
        let others = pages.iter().filter(|page| page.path != summary.path && page.path != path);
        others.flat_map(Page::links).any(|link| link.path == path)
    };
    let listed = summary.links().into_iter().map(|link| link.path);
    listed.filter(|path| !is_linked(path)).collect()
}

/// Subjects that the first column of a page's tables mentions, and whether the row links the
/// subject's page.
pub(super) fn mentions(summary: &Page, page: &Page) -> Vec<(PathBuf, bool)> {
    let subjects = Subject::all(summary);
    let mentioned = page.table_rows().into_iter().flat_map(|row| {
        let first = row.trim_start_matches('|').split('|').next().unwrap_or_default();
        let links = Page { path: page.path.clone(), text: row.to_owned() }.links();
        let found = subjects.iter().filter(|subject| subject.is_mentioned(first));
        let linked = |path: &PathBuf| links.iter().any(|link| link.path == *path);
        found.map(|subject| (subject.page.clone(), linked(&subject.page))).collect::<Vec<_>>()
    });
    mentioned.collect()
}

/// Rows of a page's tables that deny a subject although it has a page.
pub(super) fn denied(summary: &Page, page: &Page) -> Vec<(PathBuf, String)> {
    let denies = |cell: &str| DENIALS.iter().any(|denial| cell.to_lowercase().contains(denial));
    let subjects = Subject::all(summary);
    let denied = page.table_rows().into_iter().filter(|row| row.split('|').any(denies));
    let with_page = denied.flat_map(|row| {
        let mentioned = |subject: &&Subject| row.split('|').any(|cell| subject.is_mentioned(cell));
        let found = subjects.iter().filter(mentioned);
        found.map(|subject| (subject.page.clone(), row.to_owned())).collect::<Vec<_>>()
    });
    with_page.collect()
}

/// The words of a text in lower case, plurals without their "s": "Interceptors" becomes
/// "interceptor".
fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.filter(|word| !FILLERS.contains(word));
    words.map(|word| word.strip_suffix('s').unwrap_or(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Page {
        Page { path: path.into(), text: text.into() }
    }

    fn summary() -> Page {
        page(
            "docs/SUMMARY.md",
            "- [Health](walk/health.md)\n- [Server streaming](walk/server.md)\n",
        )
    }

    #[test]
    fn a_page_that_only_the_summary_and_the_page_itself_link_is_an_orphan() {
        let linking = page("docs/README.md", "[health](walk/health.md)");
        let itself = page("docs/walk/server.md", "[again](server.md)");
        let orphans = orphans(&summary(), &[summary(), linking, itself]);
        assert_eq!(orphans, [PathBuf::from("docs/walk/server.md")]);
    }

    #[test]
    fn a_subject_in_the_first_column_needs_a_link_in_its_row() {
        let table = "| in the series | here |\n|---|---|\n\
                     | 2: health | [Health](walk/health.md) |\n\
                     | 2: server-side streaming | elsewhere |\n| 3: REST | Health |\n";
        let mentions = mentions(&summary(), &page("docs/blog.md", table));
        let (health, server) = ("docs/walk/health.md", "docs/walk/server.md");
        assert_eq!(mentions, [(health.into(), true), (server.into(), false)]);
    }

    #[test]
    fn a_cell_may_deny_only_a_subject_without_a_page() {
        let table = "| 2: health | grpc-go | not here |\n\
                     | 3: REST | Go | Not in this suite; use JSON |\n\
                     | Server-side streaming | not in this suite |\n";
        let pages: Vec<_> = denied(&summary(), &page("docs/blog.md", table))
            .into_iter()
            .map(|(page, _)| page)
            .collect();
        assert_eq!(pages, [PathBuf::from("docs/walk/health.md"), "docs/walk/server.md".into()]);
        let code = format!("```text\n{table}```\nHealth is not here.\n");
        assert_eq!(denied(&summary(), &page("docs/blog.md", &code)), []);
    }
}
