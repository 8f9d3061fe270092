//! Which messages of a request came compressed: tonic does not tell its handlers.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use quartet_connection::RequestBody;
use quartet_wire::framing::Framing;
use tonic::Status;

/// The flags of the messages that have come and were not asked about, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(Arc<Mutex<VecDeque<bool>>>);

impl Flags {
    /// Whether the next message was compressed.
    pub(crate) fn next(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default()
    }
}

/// A body that notes the flags of its messages.
#[derive(Debug)]
pub(crate) struct Flagged {
    pub(crate) body: RequestBody,
    pub(crate) framing: Framing,
    pub(crate) flags: Flags,
}

impl Body for Flagged {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let mut flags = this.flags.0.lock().unwrap_or_else(PoisonError::into_inner);
            this.framing.pass_flagged(data, |flag, _| flags.push_back(flag == 1));
        }
        polled
    }
}
