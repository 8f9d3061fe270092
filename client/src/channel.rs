//! What calls are made on: a connection to a server, and what every call on it carries.

use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::{
    body::Body,
    transport::{self, channel::ResponseFuture},
};
use tower::Service;

/// A connection to a server, which is made again whenever it is gone. Clones share it.
///
/// Any [`tonic::transport::Channel`] is one; so are generated clients made over it.
#[derive(Debug, Clone)]
pub struct Channel {
    inner: transport::Channel,
    deadline: Option<Instant>,
}

impl Channel {
    /// The same connection for calls that must all have ended by then, however often they are resumed. Each call tells the
    /// server how much time is left (`grpc-timeout`), and both sides end it with DEADLINE_EXCEEDED.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}

impl From<transport::Channel> for Channel {
    fn from(inner: transport::Channel) -> Self {
        Self { inner, deadline: None }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        if let Some(deadline) = self.deadline {
            request.headers_mut().insert("grpc-timeout", timeout_until(deadline));
        }
        self.inner.call(request)
    }
}

/// The time that is left, as gRPC over HTTP/2 writes it: at most eight digits and a unit.
fn timeout_until(deadline: Instant) -> HeaderValue {
    const EIGHT_DIGITS: u128 = 99_999_999;
    let left = deadline.saturating_duration_since(Instant::now());
    let value = match left.as_millis() {
        millis @ 0..=EIGHT_DIGITS => format!("{millis}m"),
        millis => format!("{}S", (millis / 1000).min(EIGHT_DIGITS)),
    };
    HeaderValue::try_from(value).expect("invariant: it is ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timeout_has_at_most_eight_digits_and_is_never_negative() {
        for (left, value) in [
            (Duration::ZERO, "0m"),
            (Duration::from_millis(1500), "1500m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::from_secs(u64::from(u32::MAX)), "99999999S"),
        ] {
            assert_eq!(timeout_until(Instant::now() + left), value);
        }
        let past = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(timeout_until(past), "0m");
    }
}
