//! A channel for tonic's generated clients with the parts of gRPC that tonic's own channel lacks:
//! name resolution, load balancing, health checking, retries and hedging, configured by gRPC's
//! service config.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use quartet_channel::{Channel, ServiceConfig, TlsSettings};
//! use tokio::time::Instant;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: ServiceConfig = r#"{
//!     "loadBalancingConfig": [{"round_robin": {}}],
//!     "methodConfig": [{
//!         "name": [{"service": "helloworld.Greeter"}],
//!         "waitForReady": true,
//!         "retryPolicy": {
//!             "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s",
//!             "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
//!         }
//!     }]
//! }"#
//! .parse()?;
//! let channel = Channel::builder("https://greeter.example:50051".parse()?)
//!     .tls(&TlsSettings::default())?
//!     .service_config(config)
//!     .build();
//! // Give it to any generated client: GreeterClient::new(channel).
//! let channel = channel.with_deadline(Instant::now() + Duration::from_secs(10));
//! # Ok(())
//! # }
//! ```
//!
//! # Parts
//!
//! - [`Channel`] and its [`Builder`]: calls go in here.
//! - [`Target`]: which servers to call. [`Dial`]: how to connect to them.
//! - [`service_config`]: balancing, retries, hedging, timeouts, limits and health checking.
//! - [`keepalive`] detects dead connections, [`backoff`] spaces attempts.
//! - [`TlsSettings`] and [`Credentials`]: who the server is, and who the caller is.
//! - [`CallError`]: whether a call failed at this end, in the network or at the server. [`Cause`]:
//!   why, if no server said so.
//! - [`ServedBy`]: an extension of every response that names the server.
//!
//! Every call gets an `x-request-id` and a `traceparent`, unless it has one.
//!
//! # Observability
//!
//! Events go to [`tracing`]: with the target [`EXPLAIN`] the states of connections and each
//! attempt, with the target `quartet_channel::chain` the end of each call; all of them at level
//! DEBUG.

mod address;
mod resolve;
mod target;

mod dial;
mod transport;

mod http2;
pub mod keepalive;
mod tls;

mod cause;
mod response;

mod balance;

pub mod backoff;
mod retry;
pub mod service_config;

mod chain;
mod credentials;

mod channel;
mod error;
mod explain;

pub use address::{Address, ServedBy};
pub use cause::Cause;
pub use chain::{InvalidTraceparent, TraceContext};
pub use channel::{Builder, Channel, connect};
pub use credentials::{Credentials, Token, TokenSource};
pub use dial::{Dialer, SocketStream};
pub use error::{CallError, SetupError};
pub use explain::EXPLAIN;
pub use quartet_wire::compression::Encoding;
pub use service_config::ServiceConfig;
pub use target::{InvalidTarget, Target};
pub use tls::{Tls, TlsSettings};
pub use transport::{BoxedIo, ConnectError, Dial, IoStream};

/// The example of the README, compiled with the documentation's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
