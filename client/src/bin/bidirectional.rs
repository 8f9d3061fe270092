//! Bidirectional streaming: both sides send when they like. See [`quartet_client::command::bidirectional`].

use std::process::ExitCode;

use quartet_client::command::{bidirectional, start};

fn main() -> ExitCode {
    start(bidirectional::run)
}
