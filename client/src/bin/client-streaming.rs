//! Client streaming: many requests, one response. See
//! [`quartet_client::command::client_streaming`].

use std::process::ExitCode;

use quartet_client::command::{client_streaming, start};

fn main() -> ExitCode {
    start(client_streaming::run)
}
