//! The body of a request.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
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
    data_ended: bool,
    /// What counts the messages, and the place in them.
    meter: Option<(Arc<dyn Meter>, Framing)>,
}

impl RequestBody {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, data_ended: false, meter: None }
    }

    /// Has the messages that arrive counted.
    pub fn count_for(&mut self, meter: Arc<dyn Meter>) {
        self.meter = Some((meter, Framing::default()));
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
        self.stream.is_end_stream()
    }
}

/// Not CANCELLED: tonic takes that for the end of the requests.
fn cut_off(error: &h2::Error) -> Status {
    Status::aborted(format!("the request was cut off: {error}"))
}
