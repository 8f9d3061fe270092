//! The body of a response, as h2 receives it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame};

use super::{sending::Sending, vitals::OpenStream};
use crate::cause::Cause;

/// The body of a response. Dropping it resets the stream, unless both directions have ended.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    data_has_ended: bool,
    /// The request, which ends with its response.
    _sending: Sending,
    open: OpenStream,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream, sending: Sending, open: OpenStream) -> Self {
        Self { stream, data_has_ended: false, _sending: sending, open }
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
        let frame = ready!(self.poll(cx));
        Poll::Ready(frame.map_err(|error| self.open.0.explain(error)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
