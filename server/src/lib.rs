//! Server side of Quartet: the ordered post log and the four RPC kinds over it.
//!
//! A map, from the wire to the disk; read it from top to bottom:
//!
//! - [`config`]: what a server can be told.
//! - [`server`]: puts the parts together, and takes them apart again.
//! - [`connection`]: accept, speak HTTP/2, drain; [`keepalive`]: how long connections live, how often peers may ping.
//! - [`chain`]: what every call passes on its way to a handler: panics, deadlines, the access log, limits.
//! - [`routes`]: which service answers.
//! - [`metrics`] and [`traces`]: what is told of calls, and to whom.
//! - [`tls`]: encryption; [`auth`]: who calls, and what they may do; [`reload`]: what is made from files; [`certs`] makes them.
//! - [`health`]: whether the services take calls; [`probe`] asks; `reflection` tells tools what can be called.
//! - [`service`]: the Post service, one file per RPC kind; [`users`]: the User service.
//! - [`validate`] and [`error`]: from requests to values, from errors to statuses.
//! - [`authors`]: the Post service's client of the User service.
//!
//! The ordered log, and how streams read it and wait for it, is the crate [`quartet_log`].

mod admission;
pub mod auth;
pub mod certs;
pub mod chain;
pub mod config;
pub mod connection;
pub mod error;
pub mod keepalive;
pub mod metrics;
pub mod posts;
pub mod probe;
pub mod reload;
pub mod routes;
pub mod rpc;
pub mod seed;
pub mod server;
pub mod tls;
pub mod traces;
pub mod validate;
