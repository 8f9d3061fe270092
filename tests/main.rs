//! The suite: claims about the four RPC kinds, over real connections, about the documentation,
//! and about the structure of the code.
//!
//! Every promise of `docs/guarantees.md` and every rule of the contract is a test here, named after
//! its claim. Tests of time run on pipes in memory with paused time, which passes only once nothing
//! else can happen. With `QUARTET_TEST_LOG=disk` the servers on a port keep their log on disk.
//!
//! One binary, so that it links once. Tests that start a package's own processes are in
//! `server/tests` and `client/tests`.

// Test code; clippy.toml allows these only inside a `#[test]`, not in its helpers.
#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

mod bidirectional;
mod client_streaming;
mod serve;
mod server_streaming;
mod unary;
mod wire;

mod auth;
mod authors;
mod backup;
mod blog;
mod bookmarks;
mod cancellation;
mod chain;
mod compression;
mod connections;
mod drain;
mod enforcement;
mod errors;
mod expiry;
mod health;
mod hop;
mod metrics;
mod ordering;
mod recover;
mod resume;
mod stalls;
mod survival;
mod tls;

mod docs;
mod structure;
