//! The suite: claims about the four RPC kinds, over real connections, and about the documentation.
//!
//! One binary, so that it links once. Tests that start a package's own processes stand in `server/tests` and
//! `client/tests`.

// Test code; clippy.toml allows these only inside a `#[test]`, not in its helpers.
#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod docs;
mod server_streaming;
mod support;
