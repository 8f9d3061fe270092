//! The task of a connection: drives it, pings, and notices that it accepts no more calls.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use tokio::sync::oneshot;

use super::{
    keepalive::{self, Keepalive},
    vitals::Vitals,
};
use crate::{keepalive::ClientParameters, transport::IoStream};

/// A handle that no request is sent with. It reports a GOAWAY as soon as h2 has read it.
pub(super) type Probe = Mutex<SendRequest<Bytes>>;

/// What the driver of a connection needs.
pub(super) struct Driver<IO> {
    pub(super) connection: Connection<IO, Bytes>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) probe: Weak<Probe>,
    /// Ends when the last handle of the connection is dropped.
    pub(super) handles: oneshot::Receiver<Infallible>,
    /// How this connection pings.
    pub(super) parameters: ClientParameters,
    /// How the next ones will.
    pub(super) keepalive: Keepalive,
}

impl<IO: IoStream> Driver<IO> {
    /// Drives the connection to its end: that of the server, of keepalive, or of its last handle
    /// and stream.
    pub(super) async fn run(mut self) {
        // Streams wait for this when their connection fails.
        let _closed = self.vitals.closed.clone().drop_guard();
        let (vitals, parameters) = (self.vitals.clone(), self.parameters);
        let pings = self.connection.ping_pong();
        let silence = async {
            match pings {
                Some(pings) => keepalive::watch(parameters, &vitals, pings).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            cause = silence => vitals.close(cause),
            ended = poll_fn(|cx| self.poll(cx)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                    self.close(error);
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        // h2 closes a connection that nothing refers to, but only when it is polled: be woken.
        if !self.handles.is_terminated() {
            let _ = Pin::new(&mut self.handles).poll(cx);
        }
        let ended = Pin::new(&mut self.connection).poll(cx);
        if !self.vitals.closed.is_cancelled()
            && let Some(error) = self.goaway()
        {
            self.close(error);
        }
        ended
    }

    /// The error of a connection that accepts no more calls.
    fn goaway(&self) -> Option<h2::Error> {
        let probe = self.probe.upgrade()?;
        let mut probe = probe.lock().unwrap_or_else(PoisonError::into_inner);
        match probe.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready.err(),
            Poll::Pending => None,
        }
    }

    fn close(&self, error: h2::Error) {
        if self.vitals.end().is_none() {
            self.keepalive.note_end(&error, self.parameters.time);
        }
        self.vitals.close(error.into());
    }
}
