//! Servers in this process, with their connections.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use quartet::post::v1::post_service_client::PostServiceClient;
use quartet_server::{
    config::Config,
    connection::Listener,
    log::PostLog,
    server::{Server, ServerError},
};
use tempfile::TempDir;
use tokio::{io::DuplexStream, net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::soon;

/// A server in this process. It stops when it is dropped.
pub struct TestServer {
    reach: Reach,
    stop: DropGuard,
    served: JoinHandle<Result<(), ServerError>>,
    _data: Option<TempDir>,
}

/// How a client gets to a server.
enum Reach {
    Tcp(SocketAddr),
    Pipe(mpsc::Sender<DuplexStream>),
}

impl TestServer {
    /// A server on a port of its own, with an empty log: in memory, or on disk if `QUARTET_TEST_LOG=disk` says so.
    pub async fn start() -> Self {
        if std::env::var("QUARTET_TEST_LOG").is_ok_and(|log| log == "disk") {
            return Self::on_disk().await;
        }
        Self::with(Config::ephemeral()).await
    }

    /// A server with an empty log on disk, which goes with it.
    pub async fn on_disk() -> Self {
        let data = tempfile::tempdir().unwrap();
        let server = Self::with(on_disk(data.path())).await;
        Self { _data: Some(data), ..server }
    }

    pub async fn with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reach = Reach::Tcp(listener.local_addr().unwrap());
        Self::open(reach, listener, config).await
    }

    /// A server that is reached through memory alone: in paused time, nothing there takes any.
    pub async fn in_memory() -> Self {
        let (connector, listener) = mpsc::channel(1);
        Self::open(Reach::Pipe(connector), listener, Config::ephemeral()).await
    }

    /// The Post service alone, over this log and this User service, through memory.
    pub fn of_parts(log: Arc<dyn PostLog>, users: Channel) -> Self {
        let (connector, listener) = mpsc::channel(1);
        let config = Config { drain_timeout: Duration::from_secs(1), ..Config::ephemeral() };
        let server = Server::of_posts(log, users, SystemTime::now, config);
        Self::serve(Reach::Pipe(connector), listener, server)
    }

    async fn open(reach: Reach, listener: impl Listener + 'static, config: Config) -> Self {
        Self::serve(reach, listener, Server::open(config).await.unwrap())
    }

    fn serve(reach: Reach, listener: impl Listener + 'static, server: Server) -> Self {
        let stop = CancellationToken::new();
        let served = tokio::task::spawn(server.serve(listener, stop.clone().cancelled_owned()));
        Self { reach, stop: stop.drop_guard(), served, _data: None }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        match self.reach {
            Reach::Tcp(address) => address,
            Reach::Pipe(_) => panic!("a server in memory has no address"),
        }
    }

    /// A new connection.
    pub fn channel(&self) -> Channel {
        self.channel_through(|endpoint| endpoint)
    }

    /// A new connection on which a stream may send no more than 4 KiB before it is read.
    pub fn narrow_channel(&self) -> Channel {
        self.channel_through(|endpoint| endpoint.initial_stream_window_size(4096))
    }

    fn channel_through(&self, tune: impl FnOnce(Endpoint) -> Endpoint) -> Channel {
        match &self.reach {
            Reach::Tcp(address) => tune(endpoint(*address)).connect_lazy(),
            Reach::Pipe(connector) => {
                piped(tune(Endpoint::from_static("http://in.memory")), connector.clone())
            }
        }
    }

    /// A client on a new connection.
    pub fn posts(&self) -> PostServiceClient<Channel> {
        PostServiceClient::new(self.channel())
    }

    /// Tells the server to stop, as a signal would.
    pub fn begin_stop(self) -> JoinHandle<Result<(), ServerError>> {
        drop(self.stop);
        self.served
    }

    /// Stops the server and waits until nothing of it runs.
    pub async fn stop(self) {
        soon(self.begin_stop()).await.unwrap().unwrap();
    }
}

/// A server with its log in this directory.
pub fn on_disk(data: &Path) -> Config {
    Config { ephemeral: false, data: data.to_owned(), ..Config::ephemeral() }
}

pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).unwrap()
}

/// A channel whose connections are pipes to a server that listens on the other end of `connector`.
pub fn piped(endpoint: Endpoint, connector: mpsc::Sender<DuplexStream>) -> Channel {
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let (client, server) = tokio::io::duplex(64 * 1024);
            connector.send(server).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(client))
        }
    }))
}
