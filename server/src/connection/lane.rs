//! A fast lane: messages of a response that are there already, past everything that makes the others.
//!
//! A feed has two things to say. Answers, receipts and bookmarks are made for it alone, by a stream with all of its
//! layers. Posts are the same bytes for everybody who follows the same, and there are many more of them. A handler that
//! has such messages puts a lane into the extensions of its response, and what sends the response takes from both.
//!
//! Guarantee: messages of the body go first; while the body is polled, nothing is taken from the lane, and the other
//! way round. So they may share state, and each sees the other's only between two messages.

use std::{
    fmt::Debug,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

/// Where the messages of a lane come from.
pub trait Messages: Debug + Send + Sync {
    /// The next one, with its prefix, as gRPC puts it into DATA frames. It must not block; whoever calls it is woken when
    /// there may be one.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Bytes>;
}

/// A lane of one response, which ends with the response's body.
#[derive(Debug, Clone)]
pub struct Lane(pub Arc<dyn Messages>);
