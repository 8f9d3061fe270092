//! Checks one lesson: `check-lesson 3`. The binary `lessons` builds and runs it.
//!
//! Exit code 0: passed; 1: not yet, with the verdict on stdout; 2: no such lesson.

use std::process::ExitCode;

#[path = "../../exercises.rs"]
// Exercises have faults on purpose, and learners try things.
#[allow(clippy::all, clippy::disallowed_methods, clippy::await_holding_lock)]
#[allow(missing_docs, unreachable_pub, unused)]
mod exercises;

#[allow(clippy::print_stdout)] // its output
fn main() -> ExitCode {
    let number = std::env::args().nth(1).and_then(|number| number.parse().ok());
    match number.and_then(quartet_lessons::check_with!(exercises)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(verdict)) => {
            println!("{verdict}");
            ExitCode::from(1)
        }
        None => ExitCode::from(2),
    }
}
