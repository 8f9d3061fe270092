//! The simulated network, as listeners and connectors for server and clients.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use quartet_channel::{
    Address, BoxedIo, Channel, backoff::Exponential, keepalive::ClientParameters,
};
use quartet_connection::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use turmoil::net::{TcpListener, TcpStream};

/// The time limit of connecting.
const CONNECT: Duration = Duration::from_secs(2);
/// Shorter than gRPC's two minutes, because a run is.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// The keepalive time: a link that lost a packet stays silent, and only keepalive detects it.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// A listener of the simulated network.
pub(super) struct SimListener(pub(super) TcpListener);

impl Listener for SimListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        Ok(Some(self.0.accept().await?.0))
    }
}

/// Cuts the connections of a group of clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts(Arc<Group>);

#[derive(Debug, Default)]
struct Group {
    cut: Mutex<CancellationToken>,
    /// Each open connection holds one clone.
    open: Arc<()>,
}

impl Cuts {
    /// Cuts all open connections.
    pub(super) fn cut(&self) {
        std::mem::take(&mut *self.0.cut.lock()).cancel();
    }

    /// Whether any connection is open.
    pub(super) fn is_open(&self) -> bool {
        Arc::strong_count(&self.0.open) > 1
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<Connection> {
        Ok(self.hold(timeout(CONNECT, TcpStream::connect((host, port))).await??))
    }

    fn hold(&self, stream: TcpStream) -> Connection {
        let cut = Box::pin(self.0.cut.lock().clone().cancelled_owned());
        Connection { stream, cut, _open: self.0.open.clone() }
    }
}

/// Makes channels to a port of a host, each with its own connections.
pub(super) fn connector(
    host: &'static str,
    port: u16,
    cuts: Cuts,
) -> impl Fn() -> Channel + Send + Sync {
    move || {
        let cuts = cuts.clone();
        let dial = move |_: Address| {
            let cuts = cuts.clone();
            async move { Ok(Box::new(cuts.connect(host, port).await?) as BoxedIo) }
        };
        let target = format!("passthrough:///{host}:{port}");
        let keepalive = ClientParameters {
            time: Some(KEEPALIVE),
            timeout: KEEPALIVE,
            permit_without_stream: true,
        };
        Channel::builder(target.parse().expect("invariant: it is a target"))
            .keepalive(keepalive)
            .connect_backoff(Exponential::new(Duration::from_secs(1), LONGEST_BACKOFF, 1.6))
            .dialer(dial)
            .build()
    }
}

/// A connection that can be cut.
struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: Arc<()>,
}

impl Connection {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<&mut TcpStream> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(&mut self.stream),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.check(cx)?).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.check(cx)?).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.check(cx)?).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
