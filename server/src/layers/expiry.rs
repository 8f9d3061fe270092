//! Ends a call when its token expires.
//!
//! Expiry triggers the stream's [`Stop`], as draining does: a feed sends outstanding receipts and a
//! bookmark. A stream that has not ended a second later is ended here. If the peer grants no window
//! for that, the connection resets the stream at the [`Deadline`].

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Response};
use http_body::Body;
use quartet_connection::{
    Stop,
    deadline::Deadline,
    layer::watch::{Polled, Watch, trailers},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::error;

/// How long a stream may take to send its last messages.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// The time by which a stream must have ended whose token expires at `expires`.
pub(super) fn deadline(expires: Instant) -> Deadline {
    Deadline(expires + LAST_MESSAGES)
}

/// Ends a response when the caller's token expires; does nothing for a token without expiry.
pub(super) struct Expiry(Option<Expiring>);

struct Expiring {
    /// The signal that the stream listens to.
    stop: Stop,
    /// Whether the signal was sent.
    signalled: bool,
    clock: Pin<Box<Sleep>>,
}

impl Expiry {
    /// For a call with these extensions, which get a [`Stop`] for this call alone.
    pub(super) fn of(call: &mut Extensions, expires: Option<Instant>) -> Self {
        Self(expires.map(|expires| {
            let stop = Stop::of(call).of_stream();
            call.insert(stop.clone());
            Expiring { stop, signalled: false, clock: Box::pin(sleep_until(expires)) }
        }))
    }
}

impl Expiring {
    /// Sends the stop signal when the token expires. Ready when the time for last messages has
    /// passed too.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.clock.as_mut().poll(cx));
        if !self.signalled {
            self.signalled = true;
            self.stop.end(error::token_expired());
            let over = self.clock.deadline() + LAST_MESSAGES;
            self.clock.as_mut().reset(over);
            ready!(self.clock.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

impl Watch for Expiry {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        if let Poll::Ready(Ok(response)) = below.poll(cx) {
            return Poll::Ready(Ok(response));
        }
        let Some(ending) = &mut self.0 else { return Poll::Pending };
        ready!(ending.clock.as_mut().poll(cx));
        Poll::Ready(Err(error::token_expired()))
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        if let Some(ending) = &mut self.0
            && ending.poll_over(cx).is_ready()
        {
            return Poll::Ready(Some(trailers(&error::token_expired())));
        }
        body.poll_frame(cx)
    }
}
