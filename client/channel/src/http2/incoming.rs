//! The body of a response, as h2 receives it.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use h2::RecvStream;
use http_body::{Body, Frame};

use super::{sending::Sending, vitals::OpenStream};
use crate::cause::Cause;

/// The body of a response. Dropping it resets the stream, unless both directions have ended.
/// Nothing may be read after an error.
pub(crate) struct Incoming {
    stream: RecvStream,
    data_has_ended: bool,
    /// The request, which ends with its response.
    _sending: Sending,
    open: OpenStream,
    /// Finds out why the stream failed.
    failure: Option<BoxFuture<'static, Cause>>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.stream).finish()
    }
}

impl Incoming {
    pub(super) fn new(stream: RecvStream, sending: Sending, open: OpenStream) -> Self {
        Self { stream, data_has_ended: false, _sending: sending, open, failure: None }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        if self.data_has_ended {
            return Poll::Ready(None);
        }
        let data = ready!(self.stream.poll_data(cx)).transpose()?;
        self.data_has_ended = data.is_none();
        if let Some(data) = &data {
            // Fails only if the stream is gone, which the next poll reports.
            let _ = self.stream.flow_control().release_capacity(data.len());
        }
        Poll::Ready(data.map(Ok))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, h2::Error>> {
        if let Some(data) = ready!(self.poll_data(cx)).transpose()? {
            return Poll::Ready(Ok(Some(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(Ok(trailers.map(Frame::trailers)))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        loop {
            if let Some(failure) = &mut self.failure {
                return failure.as_mut().poll(cx).map(|cause| Some(Err(cause)));
            }
            match ready!(self.poll(cx)) {
                Ok(frame) => return Poll::Ready(frame.map(Ok)),
                Err(error) => {
                    let vitals = self.open.0.clone();
                    self.failure = Some(Box::pin(vitals.explain(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
