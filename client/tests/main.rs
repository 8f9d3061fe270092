//! The library, the four binaries and the examples against a server whose answers a test scripts.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "a test binary has no users")]

mod fake;

mod bidirectional;
mod client_streaming;
mod command_line;
mod cuts;
mod examples;
mod server_streaming;
mod silence;
mod unary;
