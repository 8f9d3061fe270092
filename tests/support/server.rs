//! Servers in this process, with their connections.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use quartet::post::v1::post_service_client::PostServiceClient;
use quartet_client::{
    Builder, Channel, connect::ClientParameters, dial::Address, target::Target, transport::BoxedIo,
};
use quartet_log::PostLog;
use quartet_runtime::cores::Cores;
use quartet_server::{
    config::Config,
    connection::{self, Gauges, HttpService, Listener},
    reload::Reloader,
    server::{Server, ServerError},
};
use tempfile::TempDir;
use tokio::{io::DuplexStream, net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wait::soon;

/// A server in this process. It stops when it is dropped.
pub struct TestServer {
    reach: Reach,
    stop: DropGuard,
    served: JoinHandle<Result<(), ServerError>>,
    gauges: Gauges,
    metrics: Option<SocketAddr>,
    reloader: Reloader,
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
        Self::in_memory_with(Config::ephemeral()).await
    }

    pub async fn in_memory_with(config: Config) -> Self {
        let (connector, listener) = mpsc::channel(1);
        Self::open(Reach::Pipe(connector), listener, config).await
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
        let (stop, gauges) = (CancellationToken::new(), server.gauges().clone());
        let metrics = server.metrics_address();
        let reloader = server.reloader().clone();
        let served = tokio::task::spawn(server.serve(listener, stop.clone().cancelled_owned()));
        Self { reach, stop: stop.drop_guard(), served, gauges, metrics, reloader, _data: None }
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
        self.channel_through(|builder| builder)
    }

    /// A new connection on which a stream may send no more than 4 KiB before it is read.
    pub fn narrow_channel(&self) -> Channel {
        self.channel_through(|builder| builder.stream_window(4096))
    }

    fn channel_through(&self, tune: impl FnOnce(Builder) -> Builder) -> Channel {
        let builder = match &self.reach {
            Reach::Tcp(address) => Channel::builder(target(*address)),
            Reach::Pipe(connector) => piped(connector.clone()),
        };
        tune(builder).build()
    }

    /// A channel to a server in memory whose first connection can be broken so that nobody is told.
    pub fn fragile_channel(&self, keepalive: ClientParameters) -> (Channel, Link) {
        let Reach::Pipe(connector) = &self.reach else { panic!("this server is on a port") };
        let (link, connector) = (Link::default(), connector.clone());
        let fragile = link.clone();
        let dial = move |_: Address| {
            let (link, connector) = (fragile.clone(), connector.clone());
            async move {
                let (client, near) = tokio::io::duplex(64 * 1024);
                let (far, server) = tokio::io::duplex(64 * 1024);
                connector.send(server).await.map_err(std::io::Error::other)?;
                tokio::task::spawn(link.carry(near, far));
                Ok(Box::new(client) as BoxedIo)
            }
        };
        (in_memory().keepalive(keepalive).dialer(dial).build(), link)
    }

    /// A new connection to a server in memory, on which nobody speaks yet. Its buffer holds so many bytes.
    pub async fn pipe(&self, bytes: usize) -> DuplexStream {
        let Reach::Pipe(connector) = &self.reach else { panic!("this server is on a port") };
        let (client, server) = tokio::io::duplex(bytes);
        connector.send(server).await.unwrap();
        client
    }

    /// What is open at the server.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Where its metrics can be asked for.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Looks after the server's files.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
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

/// What carries the first connection of a fragile channel.
#[derive(Clone, Default)]
pub struct Link {
    broken: CancellationToken,
    used: Arc<AtomicBool>,
}

impl Link {
    /// From now on nothing gets through, and nothing says so.
    pub fn break_silently(&self) {
        self.broken.cancel();
    }

    async fn carry(self, mut near: DuplexStream, mut far: DuplexStream) {
        let first = !self.used.swap(true, Ordering::Relaxed);
        let carrying = tokio::io::copy_bidirectional(&mut near, &mut far);
        if !first {
            let _ = carrying.await;
        } else if self.broken.run_until_cancelled(carrying).await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// A channel to whatever answers like this, through memory, and the task that serves it.
pub fn serve_routes(service: HttpService) -> (Channel, JoinHandle<()>) {
    let (connector, served) = listen(service);
    (piped(connector).build(), served)
}

/// A connection to whatever answers like this, on which nobody speaks yet.
pub async fn pipe_to(service: HttpService) -> DuplexStream {
    let (connector, _served) = listen(service);
    let (client, server) = tokio::io::duplex(64 * 1024);
    connector.send(server).await.unwrap();
    client
}

fn listen(service: HttpService) -> (mpsc::Sender<DuplexStream>, JoinHandle<()>) {
    let (connector, listener) = mpsc::channel(1);
    let settings = Config::ephemeral().connections();
    let (gauges, drain) = (Gauges::default(), CancellationToken::new());
    let served = connection::serve(listener, service, settings, gauges, Cores::default(), drain);
    (connector, tokio::task::spawn(served))
}

/// A server with its log in this directory.
pub fn on_disk(data: &Path) -> Config {
    Config { ephemeral: false, data: data.to_owned(), ..Config::ephemeral() }
}

pub fn target(address: SocketAddr) -> Target {
    format!("http://{address}").parse().unwrap()
}

/// A channel whose connections are pipes to a server that listens on the other end of `connector`.
pub fn piped(connector: mpsc::Sender<DuplexStream>) -> Builder {
    in_memory().dialer(move |_: Address| {
        let connector = connector.clone();
        async move {
            let (client, server) = tokio::io::duplex(64 * 1024);
            connector.send(server).await.map_err(std::io::Error::other)?;
            Ok(Box::new(client) as BoxedIo)
        }
    })
}

fn in_memory() -> Builder {
    Channel::builder("passthrough:///in.memory".parse().unwrap())
}
