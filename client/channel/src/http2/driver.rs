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

use super::{keepalive, vitals::Vitals};
use crate::{cause::Cause, keepalive::ClientParameters, transport::IoStream};

/// A handle that no request is sent with. It reports a GOAWAY as soon as h2 has read it.
pub(super) type Probe = Mutex<SendRequest<Bytes>>;

/// What the driver of a connection needs.
pub(super) struct Driver<IO> {
    pub(super) connection: Connection<IO, Bytes>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) probe: Weak<Probe>,
    /// Ends when the last handle of the connection is dropped.
    pub(super) handles: oneshot::Receiver<Infallible>,
    pub(super) keepalive: ClientParameters,
}

impl<IO: IoStream> Driver<IO> {
    /// Drives the connection to its end: that of the server, of keepalive, or of its last handle
    /// and stream.
    pub(super) async fn run(mut self) {
        let vitals = self.vitals.clone();
        let pings = self.connection.ping_pong();
        let dead = async {
            match pings {
                Some(pings) => keepalive::watch(self.keepalive, &vitals, pings).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            cause = dead => vitals.close(cause),
            ended = poll_fn(|cx| poll(
                &mut self.connection, &mut self.handles, &self.probe, &vitals, cx,
            )) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                    vitals.close(error.into());
                }
            }
        }
        vitals.closed.cancel();
    }
}

fn poll<IO: IoStream>(
    connection: &mut Connection<IO, Bytes>,
    handles: &mut oneshot::Receiver<Infallible>,
    probe: &Weak<Probe>,
    vitals: &Vitals,
    cx: &mut Context<'_>,
) -> Poll<Result<(), h2::Error>> {
    // h2 closes a connection that nothing refers to, but only when it is polled: be woken.
    if !handles.is_terminated() {
        let _ = Pin::new(handles).poll(cx);
    }
    let ended = Pin::new(connection).poll(cx);
    if !vitals.closed.is_cancelled()
        && let Some(probe) = probe.upgrade()
        && let Poll::Ready(Err(error)) = probe
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .poll_ready(&mut Context::from_waker(Waker::noop()))
    {
        vitals.close(Cause::from(error));
    }
    ended
}
