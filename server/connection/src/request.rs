//! The body of a request.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;
use quartet_wire::{
    compression::{Encoding, Recoder},
    framing::Framing,
};
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
    /// What decompresses the messages. Boxed: most requests are not compressed.
    recoder: Option<Box<Recoder>>,
    /// Set if the request must have one message. Boxed: most streams may have any number.
    one_message: Option<Box<OneMessage>>,
}

/// The messages of a request that must have one.
#[derive(Debug, Default)]
struct OneMessage {
    framing: Framing,
    count: usize,
}

impl OneMessage {
    /// Passes over the next data; `None` is the end.
    ///
    /// # Errors
    /// UNIMPLEMENTED for a second message, and for an end before the first.
    fn pass(&mut self, data: Option<&[u8]>) -> Result<(), Status> {
        self.framing.pass(data.unwrap_or_default(), |_| self.count += 1);
        match self.count {
            0 if data.is_none() => Err(Status::unimplemented("the request has no message")),
            2.. => Err(Status::unimplemented("the request has more than one message")),
            _ => Ok(()),
        }
    }
}

impl RequestBody {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, data_ended: false, meter: None, recoder: None, one_message: None }
    }

    /// Has the messages that arrive counted.
    pub fn count_for(&mut self, meter: Arc<dyn Meter>) {
        self.meter = Some((meter, Framing::default()));
    }

    /// Has messages of this encoding decompressed, to at most `limit` bytes each. The body then
    /// reads as if the client had not compressed them, and fails with RESOURCE_EXHAUSTED at one
    /// that is larger.
    pub fn decompress(&mut self, encoding: Encoding, limit: usize) {
        self.recoder = Some(Box::new(Recoder::decompressing(encoding, limit)));
    }

    /// Has the body fail with UNIMPLEMENTED unless it has exactly one message, as gRPC's
    /// [statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md) say of a method
    /// that takes one.
    pub fn expect_one_message(&mut self) {
        self.one_message = Some(Box::default());
    }

    fn check_count(&mut self, data: Option<&[u8]>) -> Result<(), Status> {
        self.one_message.as_mut().map_or(Ok(()), |one| one.pass(data))
    }

    fn recoded(&mut self, data: Bytes) -> Result<Frame<Bytes>, Status> {
        let data = match &mut self.recoder {
            Some(recoder) => recoder.pass(&data)?,
            None => data,
        };
        Ok(Frame::data(data))
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
            Some(Ok(data)) => {
                let checked = self.check_count(Some(&data));
                return Poll::Ready(Some(checked.and_then(|()| self.recoded(data))));
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(cut_off(&error)))),
            None => self.check_count(None)?,
        }
        if let Some(rest) = self.recoder.take().map(|mut recoder| recoder.rest())
            && !rest.is_empty()
        {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
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
