//! A connection that takes requests.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::{
    driver::{Driver, Probe},
    first_frame::FirstFrameCheck,
    incoming::Incoming,
    sending::Sending,
    settings::Settings,
    vitals::{OpenStream, Vitals},
};
use crate::{cause::Cause, transport::BoxedIo};

/// A connection that takes requests. Clones share it. It closes when the last clone is dropped and
/// all its streams have ended.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Locked until a new stream is open: the server limits their number, and those who wait for
    /// their turn have sent nothing.
    sender: AsyncMutex<SendRequest<Bytes>>,
    _probe: Arc<Probe>,
    vitals: Arc<Vitals>,
    /// Dropped with the last clone, which wakes the driver.
    _handle: oneshot::Sender<Infallible>,
}

/// How far a failed call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Nothing of it left this client.
    NeverSent,
    /// It was sent, and the server's GOAWAY excludes it, so that its application has not seen it.
    Excluded,
    /// It was sent, and its stream was reset with REFUSED_STREAM. A server has not seen it then; a
    /// proxy that lost its server may say so of a call that was processed (HAProxy 2.6 does).
    Refused,
    /// The server's application may have seen it.
    Possible,
}

/// Why a request got no response.
#[derive(Debug)]
pub(crate) struct OpenError {
    pub(crate) cause: Cause,
    pub(crate) delivery: Delivery,
}

/// The end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Closed(Arc<Vitals>);

impl Closed {
    /// Waits until the connection accepts no more calls. Returns why, if the server or keepalive
    /// said so. Cancel-safe.
    pub(crate) async fn wait(&self) -> Option<Cause> {
        self.0.closed.cancelled().await;
        self.0.end().cloned()
    }
}

/// Makes a connection of an open link, and waits until the server has sent its first frame.
///
/// # Errors
/// The server hung up, sent a GOAWAY, or does not speak HTTP/2.
pub(crate) async fn connect(io: BoxedIo, settings: &Settings) -> io::Result<(Connection, Closed)> {
    let vitals = Arc::new(Vitals::new());
    let (io, mut http2_spoken) = FirstFrameCheck::new(io, vitals.clone());
    let (sender, mut connection) =
        settings.builder().handshake::<_, Bytes>(io).await.map_err(io::Error::other)?;
    tokio::select! {
        biased;
        ended = &mut connection => return Err(refused(ended)),
        spoken = &mut http2_spoken => spoken.map_err(|_| hung_up())?,
    }
    let probe = Arc::new(Mutex::new(sender.clone()));
    let (handle, handles) = oneshot::channel();
    let driver = Driver {
        connection,
        vitals: vitals.clone(),
        probe: Arc::downgrade(&probe),
        handles,
        parameters: settings.keepalive.parameters(),
        keepalive: settings.keepalive.clone(),
    };
    // It ends with the last handle and stream of the connection.
    drop(TaskTracker::new().spawn(driver.run()));
    let sender = AsyncMutex::new(sender);
    let shared = Shared { sender, _probe: probe, vitals: vitals.clone(), _handle: handle };
    Ok((Connection(Arc::new(shared)), Closed(vitals)))
}

/// The error of a connection that ended during the handshake. A GOAWAY carries its own reason.
fn refused(ended: Result<(), h2::Error>) -> io::Error {
    match ended {
        Err(error) if error.is_go_away() => io::Error::other(Cause::from(error)),
        _ => hung_up(),
    }
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the server hung up, or does not speak HTTP/2")
}

impl Connection {
    /// Whether it accepts calls, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.0.vitals.closed.is_cancelled()
    }

    /// Sends a request, and waits for the head of its response. Dropping the future, or the body
    /// of the response, resets the stream at once.
    ///
    /// # Errors
    /// [`OpenError`] if no response began.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, OpenError> {
        let (head, body) = request.into_parts();
        let (response, stream) = self.open(Request::from_parts(head, ())).await?;
        let open = OpenStream::new(self.0.vitals.clone());
        let sending = Sending::start(body, stream);
        match response.await {
            Ok(response) => Ok(response.map(|body| Incoming::new(body, sending, open))),
            Err(error) => Err(self.after_sending(error).await),
        }
    }

    /// Opens a stream as soon as the server allows another.
    async fn open(
        &self,
        head: Request<()>,
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), OpenError> {
        let turn = self.0.sender.lock().await;
        // A clone, so that a caller who gives up leaves no stream behind that waits to be opened.
        let mut sender = turn.clone();
        let never_sent = |error: h2::Error| OpenError {
            cause: self.0.vitals.end().cloned().unwrap_or_else(|| error.into()),
            delivery: Delivery::NeverSent,
        };
        let opened = sender.send_request(head, false).map_err(never_sent)?;
        // An error of the connection is that of the response too.
        let _ = poll_fn(|cx| sender.poll_ready(cx)).await;
        Ok(opened)
    }

    async fn after_sending(&self, error: h2::Error) -> OpenError {
        let delivery = match error.reason() {
            _ if !error.is_remote() => Delivery::Possible,
            _ if error.is_go_away() => Delivery::Excluded,
            Some(h2::Reason::REFUSED_STREAM) => Delivery::Refused,
            _ => Delivery::Possible,
        };
        OpenError { cause: self.0.vitals.clone().explain(error).await, delivery }
    }
}
