//! More than one attempt for one call: [gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md), and
//! [wait-for-ready](https://github.com/grpc/grpc/blob/master/doc/wait-for-ready.md).
//!
//! Below the generated client and above the balancer, for all four kinds of call. An attempt is a request on a connection, and
//! the call is *committed* to it as soon as its response begins, or more of the request has been sent than is kept. Up to then
//! a failed attempt can be followed by another, which begins with the first byte of the request:
//!
//! | it failed, and | then |
//! |---|---|
//! | nothing had left the client | again, at once, as often as it takes |
//! | the server says that it has not looked at it | again, at once, the first time |
//! | the policy names its code, attempts and tokens are left, the server does not object | again, after a delay |
//! | otherwise | so does the call |
//!
//! Files: `attempts.rs`, one attempt after another; `hedge.rs`, one beside another; `buffer.rs`, the request that is kept;
//! `throttle.rs`, the tokens; `response.rs`, what callers read.
//!
//! Not here: going on with a stream that has begun. Only its reader knows the position: [`resume`](crate::resume).

mod attempts;
mod buffer;
mod hedge;
mod message_size;
mod response;
mod throttle;

pub(crate) use attempts::{Caller, code_of_http};
pub use buffer::DEFAULT_BUFFER_BYTES;
