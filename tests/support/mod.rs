//! What the tests share: servers, short words for what is done with them, and the checker of what
//! comes out.
//!
//! - [`server`]: a server on a port of its own, or over pipes in memory for tests of time.
//! - [`calls`]: posts, uploads, lists, and the statuses that refuse them.
//! - [`certs`]: certificates, keys and tokens.
//! - [`feed`]: one feed, step by step.
//! - [`order`]: what a reader received against the log, promise by promise.
//! - [`proxy`]: a network that can be cut, stalled and slowed.
//! - [`raw`]: requests that no generated client would send.
//! - [`http2`]: a client that speaks HTTP/2 frame by frame.
//! - [`log`]: what a server logs, as its access log reads.
//! - [`wait`]: waiting for what must happen, under a timeout.
//! - [`fakes`]: a User service that counts, and a log that waits or fails when it is told to.

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
pub mod wait;

pub use calls::*;
pub use feed::Feed;
pub use server::TestServer;
pub use wait::*;
