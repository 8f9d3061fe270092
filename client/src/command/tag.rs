//! Tags as people type them: `#chat` and `chat` are the same.

use quartet::limits;

use super::console::Stderr;
use crate::output::Clean;

/// A tag without the one `#` before it, which is how tags are shown, not a part of them. Says so.
/// (`##chat` is the tag `#chat`.)
pub(super) fn without_hash(text: String, stderr: &Stderr) -> String {
    let Some(tag) = text.strip_prefix('#') else { return text };
    stderr.say(format_args!("{} is the tag {}; the # is left out", Clean(&text), Clean(tag)));
    tag.to_owned()
}

/// Checks the length of a tag, which may have its `#`.
///
/// # Errors
/// It is empty or too long.
pub(super) fn check(text: &str) -> Result<String, String> {
    match text.strip_prefix('#').unwrap_or(text).chars().count() {
        1..=limits::TAG_CHARS => Ok(text.to_owned()),
        _ => Err(format!("a tag has 1 to {} characters", limits::TAG_CHARS)),
    }
}
