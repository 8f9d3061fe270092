//! The four binaries, as functions: [`unary::run`], [`server_streaming::run`],
//! [`client_streaming::run`] and [`bidirectional::run`].
//!
//! Each takes a parsed [`CommandLine`] and an [`Io`], makes its call, and prints every event as it
//! comes. A `main` adds the process: [`start`]. A program that runs a command on a task brings an
//! `Io` of its own.
//!
//! A command file reads from top to bottom: its flags, `run`, and what the user sees. Everything
//! that the four have in common is here once:
//!
//! - `flags.rs`: the shared flags; `channel_flags.rs`: those that describe the channel.
//! - `frame.rs`: the run of a call, from its connection to Ctrl-C, `--timeout` and a closed output.
//! - `console.rs`: data on stdout, messages on stderr.
//! - `typing_line.rs`: a line that is typed while others are printed.
//! - `start.rs`: the process, from its arguments to its exit code; [`rust_log`]: what it logs;
//!   [`terminal`]: colours and progress.
//!
//! Output is written in place and may block: a command has nothing else to do, and a slow reader of
//! its output is meant to slow it down.

pub mod bidirectional;
pub mod client_streaming;
pub mod rust_log;
pub mod server_streaming;
pub mod terminal;
pub mod unary;

mod channel_flags;
mod console;
mod failure;
mod flags;
mod frame;
mod io;
mod start;
mod tag;
mod typing_line;

pub use self::{
    channel_flags::{KeepaliveFlags, TlsFlags, TokenFlags, at_least_a_second},
    failure::Failure,
    flags::{CommandLine, CommonFlags},
    io::Io,
    start::start,
};
