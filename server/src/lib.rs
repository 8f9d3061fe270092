//! Server side of Quartet: the ordered post log and the four RPC kinds over it.
//!
//! A map, from the wire to the disk; read it from top to bottom:
//!
//! - [`config`]: what a server can be told.
//! - [`server`]: puts the parts together, and takes them apart again.
//! - [`quartet_connection`]: accept, speak HTTP/2, drain, encrypt: a crate of its own.
//! - [`chain`]: what every call passes on its way to a handler, in its order; [`layers`]: one file each.
//! - [`methods`]: the path of every method; [`routes`]: shorter ways to two of them.
//! - [`observe`]: the access log, metrics and traces.
//! - [`auth`]: who calls, and what they may do; [`certs`]: makes certificates, keys and tokens.
//! - [`health`]: whether the services take calls; [`probe`] asks; `reflection` tells tools what can be called.
//! - [`service`]: the Post service, one file per RPC kind; [`users`]: the User service.
//! - [`validate`] and [`error`]: from requests to values, from errors to statuses.
//! - [`authors`]: the Post service's client of the User service.
//! - [`cursor`], [`dispatcher`], [`filter`]: how streams read the log and wait for it.
//! - [`log`]: the ordered log itself, in memory and on disk.

pub mod auth;
pub mod authors;
pub mod call;
pub mod certs;
pub mod chain;
pub mod config;
pub mod cursor;
pub mod dispatcher;
pub mod error;
pub mod filter;
pub mod health;
pub mod layers;
pub mod log;
pub mod methods;
pub mod observe;
pub mod probe;
mod reflection;
pub mod routes;
pub mod seed;
pub mod server;
pub mod service;
pub mod users;
pub mod validate;
