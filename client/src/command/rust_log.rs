//! RUST_LOG: which log lines a program prints. All programs of the suite read it here.

use std::{
    env::{self, VarError},
    io::{self, Write as _},
};

use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::terminal;

/// Prints log lines on stderr from now on, as [`layer`] selects them.
pub fn init(otherwise: Targets) {
    tracing_subscriber::registry().with(layer(otherwise)).init();
}

/// Prints log lines on stderr: those that RUST_LOG selects, or `otherwise` if it is unset. A value
/// that cannot be used is reported on stderr and ignored.
pub fn layer<S>(otherwise: Targets) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    timed(selected_or_told().unwrap_or(otherwise))
}

/// Prints the lines of these targets on stderr, with time, level and target.
pub fn timed<S>(only: Targets) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let ansi = terminal::shows_colors(&io::stderr());
    fmt::layer().with_writer(io::stderr).with_ansi(ansi).with_filter(only)
}

/// Prints the lines of these targets on stderr as they are: without time, level and target.
pub fn plain<S>(only: Targets) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let ansi = terminal::shows_colors(&io::stderr());
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(ansi);
    lines.without_time().with_level(false).with_target(false).with_filter(only)
}

/// What RUST_LOG selects. `None` if it is unset, and if it cannot be used, which stderr is told.
pub fn selected_or_told() -> Option<Targets> {
    selected().unwrap_or_else(|problem| {
        // If stderr is closed, no log line can be read either.
        let _ = writeln!(io::stderr(), "{problem}");
        None
    })
}

/// Why RUST_LOG selects nothing.
#[derive(Debug, thiserror::Error)]
pub enum RustLogError {
    /// It is not a list of levels.
    #[error(
        "RUST_LOG={0} is ignored ({1}): it must be a level or a list of TARGET=LEVEL, such as \
         info,h2=debug"
    )]
    Syntax(String, #[source] ParseError),
    /// It selects by spans or fields, which takes a filter that the suite does without.
    #[error("RUST_LOG={0} is ignored: it selects by level and target only, such as info,h2=debug")]
    SpanOrField(String),
    /// It is not text.
    #[error("RUST_LOG is ignored: it is not Unicode")]
    NotUnicode,
}

/// What RUST_LOG selects. `None` if it is unset or empty.
///
/// # Errors
/// Its value cannot be used.
fn selected() -> Result<Option<Targets>, RustLogError> {
    match env::var("RUST_LOG") {
        Ok(text) => parse(&text),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(RustLogError::NotUnicode),
    }
}

/// A list of `TARGET=LEVEL`, `TARGET` (all of its lines) and `LEVEL` (for all other targets).
fn parse(text: &str) -> Result<Option<Targets>, RustLogError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    // Read as a part of a target, they would select nothing and say nothing.
    if text.contains(['[', '{']) {
        return Err(RustLogError::SpanOrField(text.to_owned()));
    }
    text.parse().map(Some).map_err(|error| RustLogError::Syntax(text.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn levels_are_selected_by_target() {
        let info = Targets::new().with_default(LevelFilter::INFO);
        for (text, selected) in [
            ("", None),
            ("off", Some(Targets::new().with_default(LevelFilter::OFF))),
            ("INFO", Some(info.clone())),
            ("access=debug", Some(Targets::new().with_target("access", LevelFilter::DEBUG))),
            ("info,access=off", Some(info.with_target("access", LevelFilter::OFF))),
        ] {
            assert_eq!(parse(text).unwrap(), selected, "{text}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_used_is_refused_with_an_example() {
        for text in ["h2=loud", "h2=debug=info"] {
            let problem = parse(text).unwrap_err().to_string();
            assert!(problem.contains(text) && problem.contains("such as"), "{problem}");
        }
    }
}
