//! The suite: claims about the four RPC kinds, over real connections.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)] // test code

mod server_streaming;
mod support;
