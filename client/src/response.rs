//! The response of a streaming call: headers, then messages, then a status.

use std::{fmt, pin::Pin};

use futures::{Stream, StreamExt as _};
use tonic::Status;

/// What comes next in a response.
#[derive(Debug)]
pub(crate) enum Received<M> {
    /// The response headers: a server has accepted the call. They come first and once.
    Headers,
    /// A message. Any number of them follow the headers.
    Message(M),
    /// The status OK. Nothing follows.
    End,
}

/// A call's response, read part by part.
///
/// ```text
/// Calling ── headers ──> Streaming ── message ──> Streaming
///    │                       │
///    └──────── status ───────┴──────────────────> Ended
/// ```
///
/// The call is made when the response is first polled, and a server may hold back its headers until
/// it has read a request. Headers that already carry a status other than OK are that status, not
/// [`Received::Headers`]. Dropping the response resets the call.
pub(crate) struct Response<M>(State<M>);

enum State<M> {
    /// The call is made; its headers have not arrived.
    Calling(Pin<Box<dyn Future<Output = Result<Messages<M>, Status>> + Send>>),
    /// The headers have arrived.
    Streaming(Messages<M>),
    /// The status has arrived.
    Ended(Result<(), Status>),
}

type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

impl<M> Response<M> {
    /// The response to a call that resolves to its messages once the headers have arrived.
    pub(crate) fn to<S>(call: impl Future<Output = Result<S, Status>> + Send + 'static) -> Self
    where
        S: Stream<Item = Result<M, Status>> + Send + 'static,
    {
        let call = async { call.await.map(|messages| Box::pin(messages) as Messages<M>) };
        Self(State::Calling(Box::pin(call)))
    }

    /// Waits for the next part. Cancel-safe. After the end, it returns the end again.
    ///
    /// # Errors
    /// The status of the call, if it is not OK.
    pub(crate) async fn next(&mut self) -> Result<Received<M>, Status> {
        let ended = match &mut self.0 {
            State::Calling(call) => match call.await {
                Ok(messages) => {
                    self.0 = State::Streaming(messages);
                    return Ok(Received::Headers);
                }
                Err(status) => Err(status),
            },
            State::Streaming(messages) => match messages.next().await {
                Some(Ok(message)) => return Ok(Received::Message(message)),
                Some(Err(status)) => Err(status),
                None => Ok(()),
            },
            State::Ended(ended) => ended.clone(),
        };
        self.0 = State::Ended(ended.clone());
        ended.map(|()| Received::End)
    }
}

impl<M> fmt::Debug for Response<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            State::Calling(_) => "Response::Calling",
            State::Streaming(_) => "Response::Streaming",
            State::Ended(_) => "Response::Ended",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, stream};
    use tonic::Code;

    use super::*;

    /// The next part of a response that is there already, as text.
    fn next(response: &mut Response<u8>) -> String {
        match response.next().now_or_never().expect("the next part is there") {
            Ok(received) => format!("{received:?}"),
            Err(status) => format!("{:?}", status.code()),
        }
    }

    #[test]
    fn the_headers_come_before_the_messages_and_the_end_stays_the_end() {
        let messages = stream::iter([Ok(1), Ok(2)]);
        let mut response = Response::to(async { Ok(messages) });
        for expected in ["Headers", "Message(1)", "Message(2)", "End", "End"] {
            assert_eq!(next(&mut response), expected);
        }
    }

    #[test]
    fn a_status_ends_the_response_before_or_after_its_headers() {
        let refused: Result<stream::Empty<_>, _> = Err(Status::new(Code::NotFound, ""));
        let mut response = Response::to(async { refused });
        for expected in ["NotFound", "NotFound"] {
            assert_eq!(next(&mut response), expected);
        }
        let messages = stream::iter([Ok(1), Err(Status::new(Code::Aborted, ""))]);
        let mut response = Response::to(async { Ok(messages) });
        for expected in ["Headers", "Message(1)", "Aborted", "Aborted"] {
            assert_eq!(next(&mut response), expected);
        }
    }
}
