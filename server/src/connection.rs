//! Connections: accept, speak HTTP/2, drain.
//!
//! This is a server of our own over h2. tonic's unsets the limits that keep a peer from costing more
//! than it should, cannot end idle or old connections as gRPC servers do, and waits without end for its connections when
//! it stops; hyper's, below it, does not look at a stream whose peer grants no window. It is generic over the I/O: TCP,
//! the in-memory pipe between Post and User, and whatever a test brings.
//!
//! Reading order: this file accepts; `lifecycle` decides how long a connection lives; `exchange` serves one stream;
//! [`guard`] sees every frame and ends connections that break the rules; `stop` tells streams to end.
//!
//! Guarantee: when [`serve`] returns, every task that it started has ended.

use std::{
    convert::Infallible,
    error::Error,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use quartet_runtime::{cores::Cores, gauge::Gauge};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::Service;

use crate::{
    admission::{Admission, Place},
    error,
    keepalive::{EnforcementPolicy, ServerParameters},
    routes::Answer,
    tls::Tls,
};
pub use exchange::{RequestBody, STALL};
pub use lane::{Lane, Messages, Slot};
pub use peer::Peer;
pub use stop::Stop;

pub mod activity;
mod coalesce;
mod exchange;
pub mod guard;
mod lane;
mod lifecycle;
mod peer;
mod stop;
mod woken;

/// Connections whose handshake is not done, in all and from one address.
const UNFINISHED: usize = 1024;
const UNFINISHED_PER_ADDRESS: usize = 64;
/// How long a peer may take for TLS, its preface and its SETTINGS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The pause after an accept that failed, so that a lack of file descriptors does not become a busy loop: doubled each
/// time, as in grpc-go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where connections come from.
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection; `None` if there will be no more. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<Option<Self::Io>>> + Send;

    /// Moves a connection to the runtime that calls.
    fn adopt(io: Self::Io) -> io::Result<Self::Io> {
        Ok(io)
    }

    /// Who made it, if that can be told.
    fn address(_: &Self::Io) -> Option<SocketAddr> {
        None
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Small messages shall not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }

    fn adopt(stream: TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream.into_std()?)
    }

    fn address(stream: &TcpStream) -> Option<SocketAddr> {
        stream.peer_addr().ok()
    }
}

/// A listener that somebody else goes on with.
impl<L: Listener> Listener for &mut L {
    type Io = L::Io;

    async fn accept(&mut self) -> io::Result<Option<L::Io>> {
        L::accept(self).await
    }

    fn adopt(io: L::Io) -> io::Result<L::Io> {
        L::adopt(io)
    }

    fn address(io: &L::Io) -> Option<SocketAddr> {
        L::address(io)
    }
}

/// The pipe between two services of one process.
impl Listener for mpsc::Receiver<DuplexStream> {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Option<DuplexStream>> {
        Ok(self.recv().await)
    }
}

/// What answers requests: routes, and what stands around them. Clones share it.
#[derive(Clone)]
pub struct HttpService(Arc<dyn Fn(Request<RequestBody>) -> Answer + Send + Sync>);

impl HttpService {
    /// A service of which each call gets a clone.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self(Arc::new(move |request| service.clone().call(request).boxed()))
    }

    /// The answer to a request.
    pub fn call(&self, request: Request<RequestBody>) -> Answer {
        self.0(request)
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
    }
}

/// How connections behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How they are encrypted, if they are.
    pub tls: Option<Tls>,
    /// When they end.
    pub keepalive: ServerParameters,
    /// How often peers may ping.
    pub enforcement: EnforcementPolicy,
    /// Whether their frames are told, at [`FRAMES`](guard::frames::FRAMES).
    pub frames: bool,
    /// How many there may be at once.
    pub max_connections: usize,
    /// How long streams may take to end when the server stops.
    pub drain_timeout: Duration,
}

/// What is open now.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Connections, finished or not.
    pub connections: Gauge,
    /// Streams, from their first frame to their last.
    pub streams: Gauge,
    /// Cursors: readers of the log.
    pub cursors: Gauge,
}

/// What ends a connection.
type Failure = Box<dyn Error + Send + Sync>;

/// What every connection of a listener shares.
struct Context {
    service: HttpService,
    settings: Settings,
    gauges: Gauges,
    tasks: TaskTracker,
    /// Cancelled when the server stops.
    drain: CancellationToken,
    /// Cancelled when it has waited for long enough.
    cut: CancellationToken,
}

/// Serves connections until `drain` is cancelled, then lets them finish within the drain timeout and cuts the rest, which
/// takes a second more at most.
///
/// Draining closes the listener and sends GOAWAY on every connection; streams are told by their [`Stop`].
pub async fn serve(
    mut listener: impl Listener,
    service: HttpService,
    settings: Settings,
    gauges: Gauges,
    cores: Cores,
    drain: CancellationToken,
) {
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let context = Arc::new(Context { service, settings, gauges, tasks: tasks.clone(), drain, cut });
    accept(&mut listener, &context, &cores).await;
    drop(listener);
    tasks.close();
    let limit = context.settings.drain_timeout;
    if timeout(limit, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "still busy after {limit:?}; cutting");
        context.cut.cancel();
        tasks.wait().await;
    }
}

async fn accept<L: Listener>(listener: &mut L, context: &Arc<Context>, cores: &Cores) {
    let doors = Doors::new(context.settings.max_connections);
    let mut pause = ACCEPT_PAUSE;
    while let Some(accepted) = context.drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(Some(io)) => {
                pause = ACCEPT_PAUSE;
                let peer = Peer { address: L::address(&io), certified: None };
                if let Some((open, unfinished)) = doors.admit(&peer) {
                    let held = (open, context.gauges.connections.hold());
                    let connection = serve_one(io, L::adopt, peer, context.clone(), unfinished);
                    cores.spawn(&context.tasks, async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(error = %error::chain(&*error), "connection ended");
                        }
                        drop(held);
                    });
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                context.drain.run_until_cancelled(sleep(pause)).await;
                pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
            }
        }
    }
}

/// Serves a connection, where this is polled. In a box: one in plaintext shall not hold the room that an encrypted one takes.
fn serve_one<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: IO,
    adopt: fn(IO) -> io::Result<IO>,
    peer: Peer,
    context: Arc<Context>,
    unfinished: Place<IpAddr>,
) -> BoxFuture<'static, Result<(), Failure>> {
    let until = Instant::now() + HANDSHAKE;
    match context.settings.tls.clone() {
        None => {
            async move { Ok(lifecycle::serve(adopt(io)?, peer, context, unfinished, until).await?) }
                .boxed()
        }
        Some(tls) => {
            async move { encrypted(tls, adopt(io)?, peer, context, unfinished, until).await }
                .boxed()
        }
    }
}

async fn encrypted<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    tls: Tls,
    io: IO,
    mut peer: Peer,
    context: Arc<Context>,
    unfinished: Place<IpAddr>,
    until: Instant,
) -> Result<(), Failure> {
    let handshake = timeout_at(until, tls.accept(io).boxed());
    let Some(Ok(accepted)) = context.drain.run_until_cancelled(handshake).await else {
        return Ok(());
    };
    let (io, certified) = accepted?;
    peer.certified = certified;
    Ok(lifecycle::serve(io, peer, context, unfinished, until).await?)
}

/// Who may come in.
struct Doors {
    open: Arc<Admission<IpAddr>>,
    unfinished: Arc<Admission<IpAddr>>,
}

impl Doors {
    fn new(max_connections: usize) -> Self {
        Self {
            open: Admission::new(max_connections, max_connections),
            unfinished: Admission::new(UNFINISHED, UNFINISHED_PER_ADDRESS),
        }
    }

    /// Places for a connection. Without them it is closed: whoever waits in line with a half-made connection would keep
    /// others out.
    fn admit(&self, peer: &Peer) -> Option<(Place<IpAddr>, Place<IpAddr>)> {
        let address = peer.address.map(|address| address.ip());
        let places = self.open.admit(address).zip(self.unfinished.admit(address));
        if places.is_none() {
            let (open, unfinished) = (self.open.taken(), self.unfinished.taken());
            tracing::debug!(open, unfinished, ?address, "too many connections");
        }
        places
    }
}
