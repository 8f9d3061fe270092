//! Server streaming: one request, many responses. See
//! [`quartet_client::command::server_streaming`].

use std::process::ExitCode;

use quartet_client::command::{server_streaming, start};

fn main() -> ExitCode {
    start(server_streaming::run)
}
