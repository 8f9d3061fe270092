//! The signal that ends a stream, and the status to end with.

use std::sync::{Arc, OnceLock};

use http::Extensions;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tonic::Status;

use crate::statuses::Statuses;

/// Tells streams to end: because the server stops, because their connection has reached its age, or
/// for a reason of a layer, such as a token that expires. An extension of every request.
///
/// A stream that receives it has a moment for its last messages and then returns
/// [`status`](Stop::status). One that does not listen is cut.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    token: CancellationToken,
    /// Why, if it was this one that ended the stream and not the one above it.
    status: OnceLock<Status>,
    above: Above,
}

#[derive(Debug)]
enum Above {
    Server(Arc<Statuses>),
    Connection(Stop),
}

impl Stop {
    /// For the streams of one connection of a server that drains when this token is cancelled.
    pub(crate) fn of_connection(drain: &CancellationToken, statuses: Arc<Statuses>) -> Self {
        Self::under(drain.child_token(), Above::Server(statuses))
    }

    fn under(token: CancellationToken, above: Above) -> Self {
        Self(Arc::new(Inner { token, status: OnceLock::new(), above }))
    }

    /// The one of a request, from its extensions. Without a connection below, as in a unit test,
    /// one that never ends anything.
    pub fn of(request: &Extensions) -> Self {
        request.get::<Stop>().cloned().unwrap_or_default()
    }

    /// One for a single stream: it ends with this one, and can be ended alone. A layer puts it into
    /// the request in the place of this one.
    pub fn of_stream(&self) -> Self {
        Self::under(self.0.token.child_token(), Above::Connection(self.clone()))
    }

    /// Tells the streams of this one to end with this status, unless they were told before: all of
    /// the connection, or only one after [`of_stream`](Stop::of_stream).
    pub fn end(&self, status: Status) {
        if !self.is_due() {
            // Another thread may have been first: then its status counts.
            let _ = self.0.status.set(status);
            self.0.token.cancel();
        }
    }

    /// Whether it is time to end.
    pub fn is_due(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Waits until it is time to end. Cancel-safe.
    pub fn due(&self) -> WaitForCancellationFuture<'_> {
        self.0.token.cancelled()
    }

    /// The result of a future, or `None` if it is time to end first. As cancel-safe as the future.
    pub async fn run_until_due<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.token.run_until_cancelled(future).await
    }

    /// The status to end with.
    pub fn status(&self) -> Status {
        match (self.0.status.get(), &self.0.above) {
            (Some(status), _) => status.clone(),
            (None, Above::Connection(stop)) => stop.status(),
            (None, Above::Server(statuses)) => statuses.shutdown.clone(),
        }
    }
}

impl Default for Stop {
    /// One that ends nothing until [`end`](Stop::end) is called.
    fn default() -> Self {
        Self::under(CancellationToken::new(), Above::Server(Arc::default()))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn connection() -> (CancellationToken, Stop) {
        let drain = CancellationToken::new();
        let stop = Stop::of_connection(&drain, Arc::default());
        (drain, stop)
    }

    #[test]
    fn a_stream_ends_with_the_status_of_what_ended_it_first() {
        let (drain, stop) = connection();
        let (one, other) = (stop.of_stream(), stop.of_stream());
        one.end(Status::unauthenticated("expired"));
        assert!(one.is_due() && !other.is_due() && !stop.is_due());
        stop.end(Status::unavailable("old"));
        assert!(other.is_due() && !drain.is_cancelled());
        drain.cancel();
        stop.end(Status::unknown("too late"));
        assert_eq!(one.status().code(), Code::Unauthenticated);
        assert_eq!(other.status().message(), "old");
        assert_eq!(stop.status().message(), "old");
    }

    #[test]
    fn the_streams_of_a_server_that_stops_end_with_its_status_for_that() {
        let (drain, stop) = connection();
        let stream = stop.of_stream();
        drain.cancel();
        stream.end(Status::unauthenticated("too late"));
        assert!(stream.is_due());
        assert_eq!(stream.status().message(), Statuses::default().shutdown.message());
    }
}
