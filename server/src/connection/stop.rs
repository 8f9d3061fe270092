//! How streams are told to end: where they can be resumed, and why.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::Extensions;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tonic::Status;

use crate::error;

/// What a stream listens to: the server stops, its connection has grown old, or its caller's token has expired. Every
/// request carries one.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    aged: Arc<AtomicBool>,
    expired: Arc<AtomicBool>,
}

impl Stop {
    /// For one connection of a server that drains when this is cancelled.
    pub(super) fn new(drain: &CancellationToken) -> Self {
        Self { token: drain.child_token(), ..Self::default() }
    }

    /// The connection is too old.
    pub(super) fn age(&self) {
        self.aged.store(!self.token.is_cancelled(), Ordering::Relaxed);
        self.token.cancel();
    }

    /// For one stream of the connection, which can be told alone.
    pub(crate) fn of_stream(&self) -> Self {
        Self { token: self.token.child_token(), aged: self.aged.clone(), expired: Arc::default() }
    }

    /// The token of the stream's caller has expired.
    pub(crate) fn expire(&self) {
        self.expired.store(!self.token.is_cancelled(), Ordering::Relaxed);
        self.token.cancel();
    }

    /// The one that came with a request, among its extensions. Without a connection below, nothing is ever stopped.
    pub fn of(request: &Extensions) -> Self {
        request.get::<Stop>().cloned().unwrap_or_default()
    }

    /// Whether it is time to end.
    pub fn is_due(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it is. Cancel-safe.
    pub fn due(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// The result of this, unless it is time to end before. As cancel-safe as the future is.
    pub async fn run_until_due<F: Future>(&self, future: F) -> Option<F::Output> {
        self.token.run_until_cancelled(future).await
    }

    /// How the stream ends then: whoever resumes it goes on, at once or with a new token.
    pub fn status(&self) -> Status {
        if self.expired.load(Ordering::Relaxed) {
            error::token_expired()
        } else if self.aged.load(Ordering::Relaxed) {
            error::max_age()
        } else {
            error::shutdown()
        }
    }
}
