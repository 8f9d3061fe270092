//! A connection to one address: HTTP/2 by hyper, and what its failures mean to gRPC.
//!
//! hyper drives the connection, its streams and its pings. What this adds is the answer to one question: did a call that failed
//! reach the application of the server? See [`Seen`].

use std::{
    error::Error as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri, Version, header::USER_AGENT};
use hyper::{body::Incoming, client::conn::http2::SendRequest, rt::Executor};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::Plan;
use crate::{
    connect::Origin,
    dial::Address,
    transport::{BoxedIo, ConnectError},
};

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const USER_AGENT_VALUE: &str = concat!("grpc-rust-quartet/", env!("CARGO_PKG_VERSION"));

/// A connection that takes calls. Clones share it; it closes when the last is gone and its streams have ended.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    origin: Origin,
}

/// How far a failed call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing of it left this client.
    NeverSent,
    /// It left, and the server says that it has not looked at it: REFUSED_STREAM, or a GOAWAY with a lower last stream id.
    Refused,
    /// The application may have seen it.
    Perhaps,
}

/// A call that got no response.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) seen: Seen,
}

/// A connection, and its end.
pub(super) struct Open {
    pub(super) connection: Connection,
    /// Resolves when it takes no more calls. It must be polled for calls to be sent.
    pub(super) closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Connects, and waits until the server has spoken HTTP/2.
pub(super) async fn open(plan: &Plan, address: &Address) -> Result<Open, ConnectError> {
    let opening = timeout(CONNECT_TIMEOUT, shake_hands(plan, address)).await;
    let opened = opening.unwrap_or_else(|_| Err(ConnectError::timed_out(address.clone()).source));
    opened.map_err(|source| ConnectError { address: address.clone(), source })
}

async fn shake_hands(plan: &Plan, address: &Address) -> io::Result<Open> {
    let (io, mut spoken) = Listening::to(plan.dial.dial(address).await?);
    let handshake = plan.settings.http2(Tasks::default()).handshake(TokioIo::new(io)).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    let mut connection = Box::pin(connection);
    tokio::select! {
        biased;
        ended = &mut connection => return Err(refused(ended)),
        spoken = &mut spoken => spoken.map_err(|_| hung_up())?,
    }
    let closed = Box::pin(async move {
        // What ended it, each of its streams says as well.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    let shared = Shared { address: address.clone(), origin: plan.settings.origin.clone() };
    Ok(Open { connection: Connection { sender, shared: Arc::new(shared) }, closed })
}

/// Why a server ended a connection before it was one. A GOAWAY says so itself.
fn refused(ended: hyper::Result<()>) -> io::Error {
    match ended {
        Err(error) if is_goaway(&error) => io::Error::other(error),
        _ => hung_up(),
    }
}

fn is_goaway(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(h2::Error::is_go_away)
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the server hung up, or does not speak HTTP/2")
}

impl Connection {
    /// Where it leads to.
    pub(crate) fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Whether it takes calls, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Makes a call, and waits for the head of the response.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let request = self.address_to_server(request);
        self.sender.try_send_request(request).await.map_err(|mut error| {
            let never_sent = error.take_message().is_some();
            let error = error.into_error();
            let seen = if never_sent { Seen::NeverSent } else { seen(&error) };
            Failure { status: status_of(error), seen }
        })
    }

    fn address_to_server(&self, mut request: Request<Body>) -> Request<Body> {
        let Origin { scheme, authority } = &self.shared.origin;
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(scheme.clone());
        uri.authority = Some(authority.clone());
        // A URI of a scheme, an authority and a path is one.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        let user_agent = HeaderValue::from_static(USER_AGENT_VALUE);
        request.headers_mut().entry(USER_AGENT).or_insert(user_agent);
        request
    }
}

/// For calls that belong to the connection itself, such as the watch of its health.
impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut connection = self.clone();
        Box::pin(async move {
            let response = connection.send(request).await.map_err(|failure| failure.status)?;
            Ok(response.map(Body::new))
        })
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

fn seen(error: &hyper::Error) -> Seen {
    match h2_error(error) {
        _ if error.is_canceled() => Seen::NeverSent,
        Some(error) if error.is_remote() && error.is_go_away() => Seen::Refused,
        Some(error) if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => {
            Seen::Refused
        }
        _ => Seen::Perhaps,
    }
}

/// What gRPC calls the end of a stream that had no trailers
/// ([PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors)). A connection that is gone is
/// UNAVAILABLE.
pub(crate) fn status_of(error: hyper::Error) -> Status {
    use h2::Reason;
    let code = match h2_error(&error) {
        Some(h2) if h2.is_reset() || h2.is_library() => match h2.reason() {
            Some(Reason::REFUSED_STREAM) => Code::Unavailable,
            Some(Reason::CANCEL) => Code::Cancelled,
            Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
            Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
            _ => Code::Internal,
        },
        _ => Code::Unavailable,
    };
    let mut status = Status::new(code, format!("the connection was lost: {error}"));
    status.set_source(Arc::new(error));
    status
}

/// Where hyper's tasks run: the connection, and bodies that are being sent. They end by themselves when their streams have.
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

/// The type of the frame that a server begins with, and where in a frame that stands.
const SETTINGS: u8 = 4;
const FRAME_TYPE: usize = 3;

/// Notices the first bytes that come, which must be the server's settings: it is there, and speaks HTTP/2.
struct Listening {
    io: BoxedIo,
    spoken: Option<oneshot::Sender<()>>,
}

impl Listening {
    fn to(io: BoxedIo) -> (Self, oneshot::Receiver<()>) {
        let (sender, spoken) = oneshot::channel();
        (Self { io, spoken: Some(sender) }, spoken)
    }
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let begins = &buf.filled()[before..];
        if !begins.is_empty()
            && let Some(spoken) = self.spoken.take()
        {
            if begins.get(FRAME_TYPE).is_some_and(|kind| *kind != SETTINGS) {
                return Poll::Ready(Err(io::Error::other("it does not begin with SETTINGS")));
            }
            // An attempt that was given up does not wait for it.
            let _ = spoken.send(());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Listening {
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
