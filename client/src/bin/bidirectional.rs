//! Bidirectional streaming: both sides send at any time. See
//! [`quartet_client::command::bidirectional`].

use std::process::ExitCode;

use quartet_client::command::{bidirectional, start};

fn main() -> ExitCode {
    start(bidirectional::run)
}
