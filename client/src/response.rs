//! The response of a streaming call: headers, then messages, then a status.

use std::{fmt, pin::Pin};

use futures::{Stream, StreamExt as _};
use quartet::limits::SILENCE;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::error::Error;

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
    /// The headers have arrived, and the last part of the response did at this time.
    Streaming(Messages<M>, Instant),
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
    /// The status of the call, if it is not OK, and [`Error::Silent`] once nothing has arrived for
    /// [`SILENCE`] since the last part. What has arrived is returned even if it is asked for later.
    pub(crate) async fn next(&mut self) -> Result<Received<M>, Error> {
        let ended = match &mut self.0 {
            State::Calling(call) => match call.await {
                Ok(messages) => {
                    self.0 = State::Streaming(messages, Instant::now());
                    return Ok(Received::Headers);
                }
                Err(status) => Err(status),
            },
            State::Streaming(messages, last) => {
                let next = timeout_at(*last + SILENCE, messages.next()).await;
                match next.map_err(|_| Error::Silent(SILENCE))? {
                    Some(Ok(message)) => {
                        *last = Instant::now();
                        return Ok(Received::Message(message));
                    }
                    Some(Err(status)) => Err(status),
                    None => Ok(()),
                }
            }
            State::Ended(ended) => ended.clone(),
        };
        self.0 = State::Ended(ended.clone());
        ended.map_err(Error::from).map(|()| Received::End)
    }
}

impl<M> fmt::Debug for Response<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            State::Calling(_) => "Response::Calling",
            State::Streaming(..) => "Response::Streaming",
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
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn the_headers_come_before_the_messages_and_the_end_stays_the_end() {
        let messages = stream::iter([Ok(1), Ok(2)]);
        let mut response = Response::to(async { Ok(messages) });
        for expected in ["Headers", "Message(1)", "Message(2)", "End", "End"] {
            assert_eq!(next(&mut response), expected);
        }
    }

    #[tokio::test]
    async fn a_status_ends_the_response_before_or_after_its_headers() {
        let refused: Result<stream::Empty<_>, _> = Err(Status::new(Code::NotFound, ""));
        let mut response = Response::to(async { refused });
        for expected in ["NOT_FOUND: ", "NOT_FOUND: "] {
            assert_eq!(next(&mut response), expected);
        }
        let messages = stream::iter([Ok(1), Err(Status::new(Code::Aborted, ""))]);
        let mut response = Response::to(async { Ok(messages) });
        for expected in ["Headers", "Message(1)", "ABORTED: ", "ABORTED: "] {
            assert_eq!(next(&mut response), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_error_and_what_has_arrived_is_none() {
        let messages = stream::iter([Ok(1)]).chain(stream::pending());
        let mut response = Response::to(async { Ok(messages) });
        response.next().await.unwrap();
        tokio::time::advance(SILENCE * 2).await; // the caller was busy
        assert!(matches!(response.next().await, Ok(Received::Message(1))));
        let heard = Instant::now();
        assert!(matches!(response.next().await, Err(Error::Silent(SILENCE))));
        assert_eq!(heard.elapsed(), SILENCE);
    }
}
