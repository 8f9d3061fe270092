//! Code that a page shows: copied from the sources, between marks that readers do not see.
//!
//! ````text
//! <!-- code: ../../server/src/rpc/unary.rs:unary -->
//!
//! ```rust
//! ...
//! ```
//! ````
//!
//! The path is relative to the page. After the colon stands the anchor: the lines between
//! `// ANCHOR: unary` and `// ANCHOR_END: unary`. So a page is the same on a code host, in an
//! editor and in the book.

use super::book::{Page, read};

const MARK: &str = "<!-- code: ";
const FENCE: &str = "```";

/// The page with the code that its sources have now.
///
/// # Errors
/// The place that cannot be filled.
pub(super) fn refreshed(page: &Page) -> Result<String, String> {
    let mut text = String::new();
    let mut lines = page.text.lines();
    while let Some(line) = lines.next() {
        push(&mut text, line);
        let Some(include) = page.includes_of(line).pop() else { continue };
        let problem = |what: &str| Err(format!("{}: {line}: {what}", page.path.display()));
        if lines.next() != Some("") || lines.next().is_none_or(|open| !open.starts_with(FENCE)) {
            return problem("an empty line and a fenced block must follow");
        }
        if !lines.any(|line| line == FENCE) {
            return problem("its block has no end");
        }
        let source = read(&include.path).map_err(|error| format!("{line}: {error}"))?;
        let Some(code) = excerpt(&source, include.anchor.as_deref()) else {
            return problem("the source has no such anchor");
        };
        let language = include.path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        let language = if language == "rs" { "rust" } else { language };
        text.push_str(&format!("\n{FENCE}{language}\n{code}{FENCE}\n"));
    }
    Ok(text)
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

impl Page {
    /// The sources that this line of the page asks for: at most one.
    pub(super) fn includes_of(&self, line: &str) -> Vec<super::book::Pointer> {
        let target = line.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(" -->"));
        target.map(|target| self.pointer(target, ':')).into_iter().collect()
    }
}

/// The lines of an anchor, or all lines, without the anchors' own and without the indentation that
/// all of them have.
fn excerpt(source: &str, anchor: Option<&str>) -> Option<String> {
    let is_mark = |line: &&str| line.trim().starts_with("// ANCHOR");
    let lines: Vec<_> = match anchor {
        None => source.lines().filter(|line| !is_mark(line)).collect(),
        Some(name) => {
            let (begin, end) = (format!("// ANCHOR: {name}"), format!("// ANCHOR_END: {name}"));
            let mut after = source.lines().skip_while(|line| line.trim() != begin);
            after.next()?;
            after.take_while(|line| line.trim() != end).filter(|line| !is_mark(line)).collect()
        }
    };
    let full = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = full.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let mut code = String::new();
    lines.iter().for_each(|line| push(&mut code, line.get(indent..).unwrap_or_default()));
    Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_has_no_anchors_and_no_common_indentation() {
        let source =
            "a\n    // ANCHOR: x\n    b\n\n        // ANCHOR: y\n        c\n    // ANCHOR_END: x\n";
        assert_eq!(excerpt(source, Some("x")).unwrap(), "b\n\n    c\n");
        assert_eq!(excerpt(source, Some("z")), None);
        assert_eq!(excerpt("a\n  // ANCHOR: x\n", None).unwrap(), "a\n");
    }

    #[test]
    fn a_place_without_a_block_or_a_source_is_named() {
        let refresh = |text: &str| {
            refreshed(&Page { path: "docs/x.md".into(), text: text.into() }).unwrap_err()
        };
        let mark = "<!-- code: ../tests/docs.rs:x -->\n";
        assert!(refresh(mark).contains("must follow"));
        assert!(refresh(&format!("{mark}\n```rust\n")).contains("no end"));
        assert!(refresh(&format!("{mark}\n```rust\n```\n")).contains("no such anchor"));
        assert!(refresh("<!-- code: no.rs -->\n\n```rust\n```\n").contains("no.rs"));
    }
}
