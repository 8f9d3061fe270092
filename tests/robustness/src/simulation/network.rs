//! The simulated network, in the shapes that server and clients take.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use quartet_client::connect::endpoint;
use quartet_server::connection::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::{Channel, Uri};
use tower::service_fn;
use turmoil::net::{TcpListener, TcpStream};

/// How long a connection may be made.
const CONNECT: Duration = Duration::from_secs(2);
/// A link that lost a packet stays silent, and this is how a client learns of it.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// A listener of the simulated network.
pub(super) struct SimListener(pub(super) TcpListener);

impl Listener for SimListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        Ok(Some(self.0.accept().await?.0))
    }
}

/// Breaks the connections of a group of clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts(Arc<Group>);

#[derive(Debug, Default)]
struct Group {
    cut: Mutex<CancellationToken>,
    /// One clone more for each connection that is open.
    open: Arc<()>,
}

impl Cuts {
    /// Breaks those that are open now.
    pub(super) fn cut(&self) {
        std::mem::take(&mut *self.0.cut.lock()).cancel();
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        Arc::strong_count(&self.0.open) > 1
    }

    fn hold(&self, stream: TcpStream) -> Connection {
        let cut = Box::pin(self.0.cut.lock().clone().cancelled_owned());
        Connection { stream, cut, _open: self.0.open.clone() }
    }
}

/// Makes channels to a port of a host, each with connections of its own.
pub(super) fn connector(
    host: &'static str,
    port: u16,
    cuts: Cuts,
) -> impl Fn() -> Channel + Send + Sync {
    move || {
        let cuts = cuts.clone();
        let connect = service_fn(move |_: Uri| {
            let cuts = cuts.clone();
            async move {
                let stream = timeout(CONNECT, TcpStream::connect((host, port))).await??;
                Ok::<_, io::Error>(TokioIo::new(cuts.hold(stream)))
            }
        });
        let endpoint = endpoint(&format!("http://{host}:{port}"));
        endpoint
            .expect("invariant: it is a URL")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connect)
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
