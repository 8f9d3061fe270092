//! The server of Quartet: the four RPC kinds over an ordered log of posts.
//!
//! Its modules, from the process to the posts:
//!
//! - [`settings`]: what a server is given; the flags of the binary are turned into them.
//! - [`server`]: assembles a server, serves, and shuts it down.
//! - [`chain`]: the order of the layers that every call passes; [`layers`]: one file for each;
//!   [`call`]: the record of one call.
//! - [`auth`]: authentication, and the scopes of callers; [`certs`]: certificates, keys and tokens
//!   for trying it out.
//! - [`observe`]: the access log, metrics and traces; [`methods`]: the names of methods in them.
//! - [`rpc`]: the handlers. Each RPC kind of the Post service is one file.
//! - [`posts`]: the types that these handlers use.
//! - [`validate`] and [`error`]: checks requests, and turns errors into statuses.
//! - [`seed`]: sample posts for an empty log.
//!
//! Connections, TLS and HTTP/2 limits are in the crate [`quartet_connection`]. The log, and the
//! cursors that read and follow it, are in [`quartet_log`].

pub mod auth;
pub mod call;
#[cfg(feature = "certs")]
pub mod certs;
pub mod chain;
pub mod error;
pub mod layers;
pub mod methods;
pub mod observe;
pub mod posts;
pub mod rpc;
pub mod seed;
pub mod server;
pub mod settings;
pub mod validate;
