//! Regular expressions that are constants.

use regex::Regex;

pub(super) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("pattern: constant")
}
