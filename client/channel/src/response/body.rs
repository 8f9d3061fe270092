//! The body of a response, which ends with the server's status or with the [`Cause`] why there is
//! none.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use quartet_wire::framing::Framing;
use tonic::{Code, Status};

use super::status::{code_of, drop_broken_details};
use crate::{cause::Cause, http2::Incoming};

/// The body of a gRPC response: whole messages, then trailers with a status.
///
/// Whatever else arrives is an error, and errors are never the server's: what a proxy puts into a
/// stream whose server it has lost, and an end without a status.
#[derive(Debug)]
pub(crate) struct GrpcBody {
    incoming: Incoming,
    framing: Framing,
    /// Whether messages may be compressed.
    is_compressed: bool,
    /// Whether the status has come, or the reason why there is none was reported.
    has_ended: bool,
}

impl GrpcBody {
    pub(super) fn new(incoming: Incoming, is_compressed: bool) -> Self {
        Self { incoming, framing: Framing::default(), is_compressed, has_ended: false }
    }

    /// The body of a response whose head has its status.
    pub(super) fn ended(incoming: Incoming) -> Self {
        Self { has_ended: true, ..Self::new(incoming, false) }
    }

    /// Checks the flags of messages.
    fn check_data(&mut self, data: &[u8]) -> Result<(), Cause> {
        let mut highest = 0;
        self.framing.pass_flagged(data, |flag, _| highest = highest.max(flag));
        match highest {
            0 => Ok(()),
            1 if self.is_compressed => Ok(()),
            1 => Err(Cause::Compression("a message is compressed, and no encoding named".into())),
            flag => Err(Cause::NotAMessage(flag)),
        }
    }

    /// Checks the end of the response, with its trailers if there are any.
    fn check_end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Cause> {
        self.has_ended = true;
        match trailers.and_then(code_of) {
            // What the server says outranks what is missing.
            Some(code) if code != Code::Ok => Ok(()),
            _ if !self.framing.is_between_messages() => Err(Cause::WithinMessage),
            Some(_) => Ok(()),
            None => Err(Cause::NoStatus),
        }
    }

    fn check(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, Cause> {
        if let Some(trailers) = frame.trailers_mut() {
            drop_broken_details(trailers);
            self.check_end(Some(trailers))?;
        } else if let Some(data) = frame.data_ref() {
            self.check_data(data)?;
        }
        Ok(frame)
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let checked = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => self.check(frame),
            Some(Err(cause)) => Err(cause),
            None => match self.check_end(None) {
                Ok(()) => return Poll::Ready(None),
                Err(cause) => Err(cause),
            },
        };
        self.has_ended |= checked.is_err();
        Poll::Ready(Some(checked.map_err(Status::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}
