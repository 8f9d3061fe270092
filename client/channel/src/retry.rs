//! More than one attempt for a call: [gRFC
//! A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md) and
//! [wait-for-ready](https://github.com/grpc/grpc/blob/master/doc/wait-for-ready.md), for all four
//! kinds of call.
//!
//! An attempt is one request on one connection. The call is *committed* to an attempt when its
//! response begins, or when the request has grown larger than its buffer. Until then, another
//! attempt can follow a failed one and sends the request from its first byte:
//!
//! | the attempt failed, and | then |
//! |---|---|
//! | nothing had left the client | again, at once, without limit |
//! | the server reports that its application has not seen it | again, at once, the first time |
//! | the policy lists its code; attempts, tokens and pushback permit it | again, after a delay |
//! | otherwise | the call fails |
//!
//! Files: `service.rs` takes calls and chooses the strategy, `sequential.rs` makes one attempt
//! after another, `hedge.rs` attempts at the same time, `call.rs` a single attempt. `buffer.rs`
//! keeps the request, `response.rs` is the body that the caller reads, `throttle.rs` limits
//! retries.
//!
//! Not here: resuming a stream whose response has begun. Only its reader knows the position.

mod buffer;
mod call;
mod channel_core;
mod hedge;
mod message_size;
mod response;
mod sequential;
mod service;
mod single_message;
mod throttle;

pub(crate) use buffer::DEFAULT_BUFFER_BYTES;
pub(crate) use channel_core::ChannelCore;
pub(crate) use service::RetryService;
