//! The end of a call whose token expires.
//!
//! A stream is told to end by its [`Stop`], as when the server drains: a feed sends the receipts
//! that it owes and a bookmark. What has not ended a second later is ended here. A peer that grants
//! no window is told nothing; the connection resets its stream at the [`Deadline`].

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

/// The time for the last messages of a stream.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// When a stream whose caller's token expires at `expires` must have ended.
pub(super) fn deadline(expires: Instant) -> Deadline {
    Deadline(expires + LAST_WORDS)
}

/// Ends a response when its caller's token expires, if it does.
pub(super) struct Expiry(Option<Ending>);

struct Ending {
    /// The one that the stream listens to.
    stop: Stop,
    /// Whether the stream was told to end.
    told: bool,
    clock: Pin<Box<Sleep>>,
}

impl Expiry {
    /// For a call with these extensions, which get a [`Stop`] of its own.
    pub(super) fn of(call: &mut Extensions, expires: Option<Instant>) -> Self {
        Self(expires.map(|expires| {
            let stop = Stop::of(call).of_stream();
            call.insert(stop.clone());
            Ending { stop, told: false, clock: Box::pin(sleep_until(expires)) }
        }))
    }
}

impl Ending {
    /// Tells the stream to end when its token expires. Ready when its time for that is over too.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.clock.as_mut().poll(cx));
        if !self.told {
            self.told = true;
            self.stop.end(error::token_expired());
            let over = self.clock.deadline() + LAST_WORDS;
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
