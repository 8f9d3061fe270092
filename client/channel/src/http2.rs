//! HTTP/2 of a client, on h2: a connection, and the streams on it.
//!
//! ```text
//! connection.rs ── a request ──> sending.rs (a task, if it does not fit at once)
//!       │  └── a response ──> incoming.rs, which the caller reads
//!       └── driver.rs: the connection's task, with the pings of keepalive.rs
//! ```
//!
//! A stream ends with its [`Incoming`]: dropping it resets what is not finished, in both
//! directions, whatever the request waits for. A connection ends once its last handle and its last
//! stream are gone; until then its task runs, so that the link of a stream is always watched.
//! `vitals.rs` has what the two know of each other.

mod connection;
mod driver;
mod first_frame;
mod incoming;
mod keepalive;
mod sending;
mod settings;
mod vitals;

pub(crate) use connection::{Closed, Connection, Delivery, OpenError, connect};
pub(crate) use incoming::Incoming;
pub(crate) use settings::{Origin, Settings};
