//! A connection to one address, and what its requests and responses have in common.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, Version, header::USER_AGENT};
use tokio::time::timeout;
use tonic::{Status, body::Body};
use tower::Service;

use crate::{
    address::Address,
    http2::{self, Closed, Delivery, OpenError, Origin, Settings},
    response::{GRPC_ACCEPT_ENCODING, GrpcBody, judge},
    transport::{ConnectError, Dial},
};

/// Limit of one attempt to connect, handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const USER_AGENT_VALUE: &str = concat!("grpc-rust-quartet/", env!("CARGO_PKG_VERSION"));

/// A connection that accepts calls. Clones share it. It closes when the last clone is dropped and
/// all its streams have ended.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    http2: http2::Connection,
    peer: Arc<Peer>,
}

/// The server at the other end.
#[derive(Debug)]
struct Peer {
    address: Address,
    origin: Origin,
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
    pub(super) closed: Closed,
}

/// Connects, and waits until the server has sent its first HTTP/2 frame.
pub(super) async fn open(
    dialer: &dyn Dial,
    settings: &Settings,
    address: &Address,
) -> Result<OpenConnection, ConnectError> {
    let timed_out = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"));
    let opening = async { http2::connect(dialer.dial(address).await?, settings).await };
    let opened = timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(timed_out);
    let (http2, closed) =
        opened.map_err(|source| ConnectError { address: address.clone(), source })?;
    let peer = Peer { address: address.clone(), origin: settings.origin.clone() };
    Ok(OpenConnection { connection: Connection { http2, peer: Arc::new(peer) }, closed })
}

impl Connection {
    /// The address of the server.
    pub(crate) fn address(&self) -> &Address {
        &self.peer.address
    }

    /// Whether it accepts calls, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.http2.is_open()
    }

    /// Makes a call, and waits for the head of the response. Dropping the future resets the call.
    ///
    /// # Errors
    /// [`SendError`] if no response of gRPC began.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<GrpcBody>, SendError> {
        let request = self.complete(request);
        let offered = request.headers().get(GRPC_ACCEPT_ENCODING).cloned();
        let response = self.http2.send(request).await?;
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
        let connection = self.clone();
        Box::pin(async move {
            let response = connection.send(request).await.map_err(|error| error.status)?;
            Ok(response.map(Body::new))
        })
    }
}

impl From<OpenError> for SendError {
    fn from(error: OpenError) -> Self {
        Self { status: error.cause.into(), delivery: error.delivery }
    }
}
