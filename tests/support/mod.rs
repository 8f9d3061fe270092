//! What the tests share: servers, helpers for calls, and the order checker.
//!
//! - [`server`]: a server at its own port, or over pipes in memory for tests of time.
//! - [`calls`]: posts, uploads, lists, and the statuses that refuse them.
//! - [`certs`]: certificates, keys and tokens.
//! - [`feed`]: one feed, step by step.
//! - [`order`]: checks what a reader received against the log, promise by promise.
//! - [`proxy`]: a network that can be cut, stalled and slowed.
//! - [`raw`]: requests that no generated client would send.
//! - [`http2`]: a client that speaks HTTP/2 frame by frame.
//! - [`log`]: what a server logs, as its access log reads.
//! - [`time`]: waits for an event, and fails if it does not come.
//! - [`fakes`]: a User service that counts, and a log that can be slow, broken or damaged.

pub mod calls;
pub mod certs;
pub mod fakes;
pub mod feed;
pub mod http2;
pub mod log;
pub mod order;
pub mod proxy;
pub mod raw;
pub mod server;
pub mod time;

pub use calls::*;
pub use feed::Feed;
pub use server::TestServer;
pub use time::*;
