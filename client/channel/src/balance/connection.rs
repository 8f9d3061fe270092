//! A connection to one address: HTTP/2 by hyper, and the gRPC meaning of its failures.
//!
//! hyper drives the connection, its streams and its pings. This module adds the answer to one
//! question: may the server's application have seen a call that failed? See [`Delivery`].

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, Version, header::USER_AGENT};
use hyper::{client::conn::http2::SendRequest, rt::Executor};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tonic::{Status, body::Body};
use tower::Service;

use crate::{
    address::Address,
    cause::{Cause, h2_error},
    http2::{Origin, Settings},
    response::{GRPC_ACCEPT_ENCODING, GrpcBody, judge},
    transport::{BoxedIo, ConnectError, Dial},
};

/// Limit of one attempt to connect, handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const USER_AGENT_VALUE: &str = concat!("grpc-rust-quartet/", env!("CARGO_PKG_VERSION"));

/// A connection that accepts calls. Clones share it. It closes when the last clone is dropped and
/// all its streams have ended.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    peer: Arc<Peer>,
}

/// The server at the other end.
#[derive(Debug)]
struct Peer {
    address: Address,
    origin: Origin,
}

/// How far a failed call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Nothing of it left this client.
    NeverSent,
    /// It was sent, and the server reports that its application has not seen it: REFUSED_STREAM, or
    /// a GOAWAY with a lower last stream id.
    Refused,
    /// The server's application may have seen it.
    Possible,
}

/// A call that failed before its response began.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) status: Status,
    pub(crate) delivery: Delivery,
}

/// A connection, and its end.
pub(super) struct OpenConnection {
    pub(super) connection: Connection,
    /// Resolves when the connection accepts no more calls. Drives the connection, so it must be
    /// polled.
    pub(super) closed: BoxFuture<'static, ()>,
}

/// Connects, and waits until the server has sent its first HTTP/2 frame.
pub(super) async fn open(
    dialer: &dyn Dial,
    settings: &Settings,
    address: &Address,
) -> Result<OpenConnection, ConnectError> {
    let timed_out = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"));
    let opening = timeout(CONNECT_TIMEOUT, establish(dialer, settings, address)).await;
    let opened = opening.unwrap_or_else(timed_out);
    opened.map_err(|source| ConnectError { address: address.clone(), source })
}

async fn establish(
    dialer: &dyn Dial,
    settings: &Settings,
    address: &Address,
) -> io::Result<OpenConnection> {
    let (io, mut http2_spoken) = FirstFrameCheck::new(dialer.dial(address).await?);
    let handshake = settings.builder(Tasks::default()).handshake(TokioIo::new(io)).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    let mut connection = Box::pin(connection);
    tokio::select! {
        biased;
        ended = &mut connection => return Err(refused(ended)),
        spoken = &mut http2_spoken => spoken.map_err(|_| hung_up())?,
    }
    let closed = Box::pin(async move {
        // Its streams report the error as well.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    let peer = Peer { address: address.clone(), origin: settings.origin.clone() };
    Ok(OpenConnection { connection: Connection { sender, peer: Arc::new(peer) }, closed })
}

/// The error of a connection that ended during the handshake. A GOAWAY carries its own reason.
fn refused(ended: hyper::Result<()>) -> io::Error {
    match ended {
        Err(error) if is_goaway(&error) => io::Error::other(error),
        _ => hung_up(),
    }
}

fn is_goaway(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(h2::Error::is_go_away)
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the server hung up, or does not speak HTTP/2")
}

impl Connection {
    /// The address of the server.
    pub(crate) fn address(&self) -> &Address {
        &self.peer.address
    }

    /// Whether it accepts calls, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Makes a call, and waits for the head of the response. Dropping the future resets the call.
    ///
    /// # Errors
    /// [`SendError`] if no response of gRPC began.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<GrpcBody>, SendError> {
        let request = self.complete(request);
        let offered = request.headers().get(GRPC_ACCEPT_ENCODING).cloned();
        let sent = self.sender.try_send_request(request).await;
        let response = sent.map_err(|mut error| {
            let never_sent = error.take_message().is_some();
            let error = error.into_error();
            let delivery = if never_sent { Delivery::NeverSent } else { delivery(&error) };
            SendError { status: Cause::from(error).into(), delivery }
        })?;
        judge(response, offered.as_ref()).map_err(|cause| {
            // Whatever answered, the server's application may have seen the call.
            SendError { status: cause.into(), delivery: Delivery::Possible }
        })
    }

    /// Adds what every request says about its server and its client.
    fn complete(&self, mut request: Request<Body>) -> Request<Body> {
        let Origin { scheme, authority } = &self.peer.origin;
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(scheme.clone());
        uri.authority = Some(authority.clone());
        // Cannot fail: it has a scheme, an authority and a path.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        let user_agent = HeaderValue::from_static(USER_AGENT_VALUE);
        request.headers_mut().entry(USER_AGENT).or_insert(user_agent);
        request
    }
}

/// For calls on this very connection, such as the watch of its health.
impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut connection = self.clone();
        Box::pin(async move {
            let response = connection.send(request).await.map_err(|error| error.status)?;
            Ok(response.map(Body::new))
        })
    }
}

fn delivery(error: &hyper::Error) -> Delivery {
    match h2_error(error) {
        _ if error.is_canceled() => Delivery::NeverSent,
        Some(error) if error.is_remote() && error.is_go_away() => Delivery::Refused,
        Some(error) if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => {
            Delivery::Refused
        }
        _ => Delivery::Possible,
    }
}

/// Runs hyper's tasks, which send request bodies. Each ends with its stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        // The output of hyper's tasks is (): they report through the streams.
        drop(self.0.spawn(future));
    }
}

/// The frame type of SETTINGS, and the offset of the type in a frame.
const SETTINGS: u8 = 4;
const FRAME_TYPE: usize = 3;

/// Checks that the first bytes of a server are its SETTINGS frame, and reports it: the server runs,
/// and speaks HTTP/2.
struct FirstFrameCheck {
    io: BoxedIo,
    spoken: Option<oneshot::Sender<()>>,
}

impl FirstFrameCheck {
    fn new(io: BoxedIo) -> (Self, oneshot::Receiver<()>) {
        let (sender, spoken) = oneshot::channel();
        (Self { io, spoken: Some(sender) }, spoken)
    }
}

impl AsyncRead for FirstFrameCheck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let received = &buf.filled()[before..];
        if !received.is_empty()
            && let Some(spoken) = self.spoken.take()
        {
            if received.get(FRAME_TYPE).is_some_and(|kind| *kind != SETTINGS) {
                return Poll::Ready(Err(io::Error::other("its first frame is not SETTINGS")));
            }
            // Fails only if the attempt was abandoned.
            let _ = spoken.send(());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FirstFrameCheck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
