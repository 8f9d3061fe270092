//! The server of Quartet: the four RPC kinds over an ordered log of posts, and what surrounds them.
//!
//! A map, from the process to the posts; read it from top to bottom:
//!
//! - [`config`]: the flags of the binary, and the settings that are made of them.
//! - [`server`]: puts the parts together, and takes them apart again.
//! - [`chain`]: the order of the layers that every call passes; [`layers`]: one file for each;
//!   [`call`]: the record of one call.
//! - [`auth`]: who calls, and what a caller may do; [`certs`]: certificates, keys and tokens to try
//!   it with.
//! - [`observe`]: the access log, metrics and traces; [`methods`]: names of methods for them.
//! - [`rpc`]: the handlers. Each RPC kind of the Post service is one file.
//! - [`posts`]: what these handlers are made of.
//! - [`validate`] and [`error`]: from requests to values, and from errors to statuses.
//! - [`seed`]: the posts of an empty log; [`probe`]: asks another server for its health.
//!
//! Connections, TLS and limits are the crate [`quartet_connection`]; the log, and how streams read
//! it and wait for it, is [`quartet_log`].

pub mod auth;
pub mod call;
#[cfg(feature = "certs")]
pub mod certs;
pub mod chain;
pub mod config;
pub mod error;
pub mod layers;
pub mod methods;
pub mod observe;
pub mod posts;
pub mod probe;
pub mod rpc;
pub mod seed;
pub mod server;
pub mod validate;
