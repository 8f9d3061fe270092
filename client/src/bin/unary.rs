//! Unary: one request, one response. See [`quartet_client::command::unary`].

use std::process::ExitCode;

use quartet_client::command::{start, unary};

fn main() -> ExitCode {
    start(unary::run)
}
