//! Responses of methods that answer with one message.

use http::HeaderMap;
use http_body::Frame;
use quartet_wire::framing::Framing;
use tonic::Code;

use crate::{cause::Cause, response::code_of};

/// Counts the messages of a response that must have one.
#[derive(Debug, Default)]
pub(super) struct SingleMessage {
    framing: Framing,
    count: usize,
}

impl SingleMessage {
    /// Passes over the next frame.
    ///
    /// # Errors
    /// [`Cause::ResponseCount`] for a second message, and for the status OK without any: a
    /// violation of cardinality, by gRPC's
    /// [statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
    pub(super) fn pass(&mut self, frame: &Frame<bytes::Bytes>) -> Result<(), Cause> {
        if let Some(data) = frame.data_ref() {
            self.framing.pass(data, |_| self.count += 1);
        }
        match frame.trailers_ref() {
            Some(trailers) => self.check_end(trailers),
            None if self.count > 1 => Err(Cause::ResponseCount(self.count)),
            None => Ok(()),
        }
    }

    /// Checks the end of a response by the headers that have its status.
    ///
    /// # Errors
    /// As for [`pass`](Self::pass).
    pub(super) fn check_end(&self, status: &HeaderMap) -> Result<(), Cause> {
        match code_of(status) {
            Some(Code::Ok) if self.count == 0 => Err(Cause::ResponseCount(0)),
            _ => Ok(()),
        }
    }
}
