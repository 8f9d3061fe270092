//! The body of a request.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;
use quartet_wire::framing::Framing;
use tonic::Status;

use crate::meter::Meter;

/// A request's body. A stream that was reset or cut off ends with an error, never as if it had been
/// finished.
#[derive(Debug)]
pub struct RequestBody {
    stream: RecvStream,
    /// Data that [`whole`](Self::whole) looked at and that is still to be read.
    seen: Bytes,
    data_ended: bool,
    /// What counts the messages, and the place in them.
    meter: Option<(Arc<dyn Meter>, Framing)>,
}

impl RequestBody {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, seen: Bytes::new(), data_ended: false, meter: None }
    }

    /// Has the messages that arrive counted.
    pub fn count_for(&mut self, meter: Arc<dyn Meter>) {
        self.meter = Some((meter, Framing::default()));
    }

    /// All of the request's data, if it has arrived in one piece and its end with it. The data
    /// stays in the body for its reader.
    pub fn whole(&mut self) -> Option<&Bytes> {
        let mut now = Context::from_waker(Waker::noop());
        loop {
            match self.poll_data(&mut now) {
                Poll::Ready(None) => return Some(&self.seen),
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) if self.seen.is_empty() => self.seen = data,
                Poll::Ready(Some(Ok(data))) => {
                    self.seen = [&*self.seen, &*data].concat().into();
                    return None;
                }
                // The stream keeps its error for the reader.
                Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
            }
        }
    }

    /// The next data of the stream.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        if self.data_ended {
            return Poll::Ready(None);
        }
        let data = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                self.data_ended = true;
                return Poll::Ready(None);
            }
        };
        // It is read, so the peer may send as much more. This fails only if the stream is over.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if let Some((meter, framing)) = &mut self.meter {
            framing.pass(&data, |bytes| meter.received(bytes));
        }
        Poll::Ready(Some(Ok(data)))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.seen.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.seen)))));
        }
        match ready!(self.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Err(error)) => return Poll::Ready(Some(Err(cut_off(&error)))),
            None => {}
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(cut_off(&error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.stream.is_end_stream()
    }
}

/// Not CANCELLED: tonic takes that for the end of the requests.
fn cut_off(error: &h2::Error) -> Status {
    Status::aborted(format!("the request was cut off: {error}"))
}
