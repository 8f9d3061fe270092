//! Connections: accept, speak HTTP/2, drain.
//!
//! This is an accept loop of our own over hyper's connection and tonic's routes, because tonic's server unsets
//! hyper's safe limits and waits without end for its connections when it stops. It is generic over the I/O: TCP, the
//! in-memory pipe between Post and User, and whatever a test brings.
//!
//! Guarantee: when [`serve`] returns, every task that it started has ended.

use std::{convert::Infallible, io, pin::pin, time::Duration};

use hyper::{rt::Executor, server::conn::http2};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::util::BoxCloneService;

/// Streams that one connection may have open: gRPC clients queue beyond it.
const STREAMS: u32 = 256;
/// Errors of the peer that cost it the connection: hyper's own default, which tonic unsets.
const LOCAL_RESETS: usize = 1024;
/// Bytes of request headers.
const HEADER_LIST: u32 = 16 * 1024;
/// What a stream may send before it is read: the largest request message and a little more.
const STREAM_WINDOW: u32 = 512 * 1024;
/// What a connection may send before it is read. Larger than a stream's, so that one upload that is not read does
/// not stop the other streams.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// What the server buffers for a stream whose client does not read: about one batch.
const SEND_BUFFER: usize = 128 * 1024;
/// The pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for the next connection; `None` if there will be no more. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<Option<Self::Io>>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Small messages shall not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }
}

/// The pipe between two services of one process.
impl Listener for mpsc::Receiver<DuplexStream> {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Option<DuplexStream>> {
        Ok(self.recv().await)
    }
}

/// What answers requests: tonic's routes, and what stands around them.
pub type HttpService = BoxCloneService<
    http::Request<hyper::body::Incoming>,
    http::Response<tonic::body::Body>,
    Infallible,
>;

/// Serves connections until `drain` is cancelled, then lets them finish within `drain_timeout` and cuts the rest.
///
/// Draining closes the listener and sends GOAWAY on every connection; ending the open streams is the services' part.
pub async fn serve(
    mut listener: impl Listener,
    service: HttpService,
    drain: CancellationToken,
    drain_timeout: Duration,
) {
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(Some(io)) => {
                let connection = connection(io, service.clone(), tasks.clone(), drain.clone());
                let cut = cut.clone();
                tasks.spawn(async move { cut.run_until_cancelled(connection).await });
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if timeout(drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "still busy after {drain_timeout:?}; cutting");
        cut.cancel();
        // A connection that is dropped ends its streams, and with them the handlers.
        tasks.wait().await;
    }
}

async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: HttpService,
    tasks: TaskTracker,
    drain: CancellationToken,
) {
    let connection = http2::Builder::new(Tracked(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .auto_date_header(false) // gRPC has no use for it
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %crate::error::chain(&error), "connection ended");
    }
}

/// Runs what hyper spawns, so that its owner can wait for it.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
