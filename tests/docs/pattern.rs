//! Regular expressions.

use regex::Regex;

/// Compiles a constant pattern.
pub(super) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("pattern: constant")
}
