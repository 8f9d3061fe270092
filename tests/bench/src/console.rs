//! What a bench prints: progress on stderr, data on stdout.

/// Prints a line of progress.
#[allow(clippy::print_stderr)] // no tracing here: a person watches
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Prints the one line on stdout by which a process answers the one that started it.
#[allow(clippy::print_stdout)] // it is data
pub(crate) fn answer(line: &str) {
    println!("{line}");
}
