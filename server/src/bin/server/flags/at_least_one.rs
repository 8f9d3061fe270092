//! Numbers of which there must be some.

use std::str::FromStr;

/// Parses a number of which there must be some.
pub(super) fn at_least_one<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "it must be a whole number, at least 1".to_owned())
}
