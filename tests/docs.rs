//! The documentation is true: its commands print what it shows, its links resolve, and its lists
//! are complete.
//!
//! `console.rs` defines how a page writes a terminal session. `stage.rs` plays it with the binaries
//! that `cargo build` made, each of them a `program.rs`. `shown_code.rs` copies code from the
//! sources into the pages. `book.rs` reads links and anchors, and `subjects.rs` checks that pages
//! and tables link the page of each subject that they mention.
//!
//! After a change of output or of code that a page shows, `UPDATE_DOCS=1 cargo test --test suite
//! docs::` writes the new text into the pages. Read the difference before you commit it.

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use book::{Page, Pointer, files, pages, read, root};
use stage::Stage;

mod book;
mod console;
mod pattern;
mod program;
mod shown_code;
mod stage;
mod subjects;

#[test]
fn every_page_does_what_it_shows() {
    let update = env::var_os("UPDATE_DOCS").is_some();
    let mut played = 0;
    let mut drifted = Vec::new();
    // `ONLY_PAGE=retry.md` plays a single page, for its author.
    let only = env::var("ONLY_PAGE").unwrap_or_default();
    for page in pages().into_iter().filter(|page| page.path.ends_with(&only) || only.is_empty()) {
        if console::blocks(&page.text) == Ok(Vec::new()) {
            continue;
        }
        played += 1;
        let result = if update { update_page(&page) } else { stage().play(&page.text) };
        drifted.extend(result.err().map(|drift| format!("{}, {drift}", page.path.display())));
    }
    assert!(drifted.is_empty(), "{}", drifted.join("\n\n"));
    assert!(
        played >= 7 || !only.is_empty(),
        "the README, the quickstart, the four walkthroughs and two services"
    );
}

#[test]
fn every_shell_block_of_the_book_is_played() {
    for page in pages().iter().filter(|page| page.path.starts_with("docs")) {
        for shell in ["```sh", "```bash", "```shell"] {
            assert!(!page.text.contains(shell), "{}: {shell}", page.path.display());
        }
    }
}

#[test]
fn every_walkthrough_has_the_same_five_parts_and_an_rpc_kind_opens_with_plain_tonic() {
    let opening = ["The call on the generated client", "The handler in plain tonic"];
    let parts = ["What you will see", "Run it", "Expected output", "How it works", "Break it"];
    let kinds = ["unary.md", "server-streaming.md", "client-streaming.md", "bidirectional.md"];
    for page in pages().iter().filter(|page| page.path.starts_with("docs/walkthrough")) {
        let is_kind = kinds.iter().any(|kind| page.path.ends_with(kind));
        let opening = if is_kind { &opening[..] } else { &[] };
        assert_eq!(page.headings()[1..], [opening, &parts].concat(), "{}", page.path.display());
    }
}

fn update_page(page: &Page) -> Result<(), String> {
    write_page(page, |page| stage().rewrite(&page.text))
}

/// Replaces a page. Two tests do that, so each reads it again, while the other waits.
fn write_page(
    page: &Page,
    rewrite: impl FnOnce(&Page) -> Result<String, String>,
) -> Result<(), String> {
    static WRITING: Mutex<()> = Mutex::new(());
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = page.path.clone();
    let text = read(&path).map_err(|error| error.to_string())?;
    let text = rewrite(&Page { path, text })?;
    fs::write(root().join(&page.path), text).map_err(|error| error.to_string())
}

#[test]
fn every_page_shows_the_code_of_its_sources() {
    for page in pages() {
        let path = page.path.display();
        assert!(!page.text.contains("{{#"), "{path}: code hosts show mdBook's directives as text");
        if env::var_os("UPDATE_DOCS").is_some() {
            write_page(&page, shown_code::refreshed).unwrap();
        } else {
            let fresh = shown_code::refreshed(&page).unwrap();
            assert!(fresh == page.text, "{path}: UPDATE_DOCS=1 cargo test --test suite docs::");
        }
    }
}

/// A stage with the binaries of the profile that this test was built with.
fn stage() -> Stage {
    let suite = env::current_exe().unwrap();
    let binaries = suite.ancestors().nth(2).unwrap(); // target/debug/deps/suite
    assert!(binaries.join("server").exists(), "no binaries: `cargo build --workspace` first");
    Stage::new(binaries).unwrap()
}

#[test]
fn every_link_resolves() {
    let pages = pages();
    let leads =
        |link: &Pointer| match (&link.anchor, pages.iter().find(|page| page.path == link.path)) {
            (Some(anchor), page) => page.is_some_and(|page| page.anchors().contains(anchor)),
            (None, _) => root().join(&link.path).exists(),
        };
    for page in &pages {
        for link in page.links() {
            assert!(leads(&link), "{}: {link:?}", page.path.display());
            let leaves_the_book = page.path.starts_with("docs") && !link.path.starts_with("docs");
            assert!(!leaves_the_book, "{}: {link:?} is not in the book", page.path.display());
        }
    }
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let (pages, summary) = pages_and_summary();
    let listed: Vec<_> = summary.links().into_iter().map(|link| link.path).collect();
    for page in pages.iter().filter(|page| page.path.starts_with("docs")) {
        assert!(listed.contains(&page.path), "{}", page.path.display());
    }
}

/// All pages except the summary, and the summary.
fn pages_and_summary() -> (Vec<Page>, Page) {
    let (mut summary, pages): (Vec<_>, Vec<_>) =
        pages().into_iter().partition(|page| page.path.ends_with("SUMMARY.md"));
    (pages, summary.remove(0))
}

#[test]
fn every_page_of_the_summary_is_linked_from_another_page() {
    let (pages, summary) = pages_and_summary();
    assert_eq!(subjects::orphans(&summary, &pages), [] as [&Path; 0]);
}

#[test]
fn every_subject_of_the_blog_links_its_page() {
    let (pages, summary) = pages_and_summary();
    let blog = pages.iter().find(|page| page.path.ends_with("from-the-blog.md")).unwrap();
    let mentions = subjects::mentions(&summary, blog);
    for (page, is_linked) in &mentions {
        assert!(is_linked, "{} mentions {} without a link", blog.path.display(), page.display());
    }
    assert!(mentions.len() >= 12, "the four RPC kinds and eight other subjects: {mentions:?}");
}

#[test]
fn no_table_denies_a_subject_that_has_a_page() {
    let (pages, summary) = pages_and_summary();
    for page in &pages {
        let denied = subjects::denied(&summary, page);
        assert!(denied.is_empty(), "{}: {denied:?}", page.path.display());
    }
}

#[test]
fn every_include_finds_its_anchor_and_every_anchor_its_page() {
    let includes: Vec<_> = pages().iter().flat_map(Page::includes).collect();
    for include in &includes {
        let text = read(&include.path).unwrap_or_else(|error| panic!("{include:?}: {error}"));
        let anchors = anchors(&text);
        let found = include.anchor.as_ref().is_none_or(|name| anchors.contains(name.as_str()));
        assert!(found, "{include:?}");
    }
    for path in sources() {
        for anchor in anchors(&read(&path).unwrap()) {
            let pointer = Pointer { path: path.clone(), anchor: Some(anchor.to_owned()) };
            assert!(includes.contains(&pointer), "no page shows {pointer:?}");
        }
    }
}

/// The anchors of a source file: `// ANCHOR: NAME` with its `// ANCHOR_END: NAME`.
fn anchors(text: &str) -> BTreeSet<&str> {
    let names = |mark| text.lines().filter_map(move |line| line.trim().strip_prefix(mark));
    let begun: BTreeSet<_> = names("// ANCHOR: ").collect();
    assert_eq!(begun, names("// ANCHOR_END: ").collect(), "an anchor without its end");
    begun
}

fn sources() -> impl Iterator<Item = std::path::PathBuf> {
    ["proto", "server", "client", "tests"].into_iter().flat_map(|folder| files(folder, "rs"))
}

#[test]
fn every_file_named_by_the_documentation_exists() {
    for page in pages() {
        for file in page.named_files() {
            assert!(root().join(&file).exists(), "{}: {}", page.path.display(), file.display());
        }
    }
}

#[test]
fn every_reason_is_explained_in_order() {
    let errors =
        Page { path: "docs/errors.md".into(), text: read(Path::new("docs/errors.md")).unwrap() };
    let headings = errors.headings();
    let is_reason = |heading: &&str| heading.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let explained: Vec<_> = headings.into_iter().filter(is_reason).collect();
    assert_eq!(explained, quartet::reason::ALL);
}

#[test]
fn every_test_named_by_a_page_exists() {
    let sources: String = sources().map(|path| read(&path).unwrap()).collect();
    // The pages also name fields of the contract.
    let protos: String = files("proto", "proto").iter().map(|path| read(path).unwrap()).collect();
    for page in ["docs/guarantees.md", "docs/robustness.md"] {
        let text = read(Path::new(page)).unwrap();
        let named = text.split('`').skip(1).step_by(2);
        let is_test = |name: &&str| {
            // A claim, and not the name of a program.
            name.matches('_').count() > 2
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        for name in named.filter(is_test).filter(|name| !protos.contains(name)) {
            assert!(sources.contains(&format!("fn {name}(")), "{page}: no test is called {name}");
        }
    }
}
