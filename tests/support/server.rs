//! Servers in this process, and connections to them.

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
use quartet_channel::{Address, BoxedIo, Builder, Channel, Target, keepalive::ClientParameters};
use quartet_connection::{
    self as connection, HttpService, Listener,
    listener::memory::{self, Connector},
    reload::Reloader,
};
use quartet_log::PostLog;
use quartet_server::{
    server::{Server, ServerError, ServerGauges},
    settings::{LogSettings, Settings},
};
use tempfile::TempDir;
use tokio::{io::DuplexStream, net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::time::soon;

/// A server in this process. It stops when it is dropped.
pub struct TestServer {
    reach: Reach,
    stop: DropGuard,
    served: JoinHandle<Result<(), ServerError>>,
    gauges: ServerGauges,
    metrics: Option<SocketAddr>,
    reloader: Reloader,
    _data: Option<TempDir>,
}

/// How clients reach a server.
enum Reach {
    Tcp(SocketAddr),
    Pipe(Connector),
}

impl TestServer {
    /// A server at its own port with an empty log: in memory, or on disk with
    /// `QUARTET_TEST_LOG=disk`.
    pub async fn start() -> Self {
        if std::env::var("QUARTET_TEST_LOG").is_ok_and(|log| log == "disk") {
            return Self::on_disk().await;
        }
        Self::with(Settings::default()).await
    }

    /// A server with an empty log on disk, which is removed with it.
    pub async fn on_disk() -> Self {
        let data = tempfile::tempdir().unwrap();
        let server = Self::with(on_disk(data.path())).await;
        Self { _data: Some(data), ..server }
    }

    pub async fn with(config: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reach = Reach::Tcp(listener.local_addr().unwrap());
        Self::open(reach, listener, config).await
    }

    /// A server that is reached through memory alone: with paused time, its calls take no time.
    pub async fn in_memory() -> Self {
        Self::in_memory_with(Settings::default()).await
    }

    pub async fn in_memory_with(config: Settings) -> Self {
        let (connector, listener) = memory::listen();
        Self::open(Reach::Pipe(connector), listener, config).await
    }

    /// The Post service alone, over this log and this User service, through memory.
    pub fn of_parts(log: Arc<dyn PostLog>, users: Channel) -> Self {
        let (connector, listener) = memory::listen();
        let mut settings = Settings::default();
        settings.connections.drain_timeout = Duration::from_secs(1);
        let server = Server::of_posts(log, users, SystemTime::now, settings);
        Self::serve(Reach::Pipe(connector), listener, server)
    }

    async fn open(reach: Reach, listener: impl Listener + 'static, config: Settings) -> Self {
        Self::serve(reach, listener, Server::open(config).await.unwrap())
    }

    fn serve(reach: Reach, listener: impl Listener + 'static, server: Server) -> Self {
        let (stop, gauges) = (CancellationToken::new(), server.gauges().clone());
        let metrics = server.metrics_address();
        let reloader = server.reloader().clone();
        let served = tokio::task::spawn(server.serve(listener, stop.clone().cancelled_owned()));
        Self { reach, stop: stop.drop_guard(), served, gauges, metrics, reloader, _data: None }
    }

    /// The address of a server on a port.
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

    /// A new connection on which a stream may send at most 4 KiB before it is read.
    pub fn narrow_channel(&self) -> Channel {
        self.channel_through(|builder| builder.stream_window(4096))
    }

    /// A new connection with this keepalive.
    pub fn pinging_channel(&self, keepalive: ClientParameters) -> Channel {
        self.channel_through(|builder| builder.keepalive(keepalive))
    }

    fn channel_through(&self, tune: impl FnOnce(Builder) -> Builder) -> Channel {
        let builder = match &self.reach {
            Reach::Tcp(address) => Channel::builder(target(*address)),
            Reach::Pipe(connector) => piped(connector.clone()),
        };
        tune(builder).build()
    }

    /// A channel to a server in memory whose first connection can break without a signal to either
    /// end.
    pub fn fragile_channel(&self, keepalive: ClientParameters) -> (Channel, Link) {
        let Reach::Pipe(connector) = &self.reach else { panic!("this server is on a port") };
        let (link, connector) = (Link::default(), connector.clone());
        let fragile = link.clone();
        let dial = move |_: Address| {
            let (link, connector) = (fragile.clone(), connector.clone());
            async move {
                let (client, near) = tokio::io::duplex(64 * 1024);
                let far = connector.connect().await?;
                tokio::task::spawn(link.carry(near, far));
                Ok(Box::new(client) as BoxedIo)
            }
        };
        (in_memory().keepalive(keepalive).dialer(dial).build(), link)
    }

    /// A new raw connection to a server in memory. Its buffer holds this many bytes.
    pub async fn pipe(&self, bytes: usize) -> DuplexStream {
        let Reach::Pipe(connector) = &self.reach else { panic!("this server is on a port") };
        connector.connect_with(bytes).await.unwrap()
    }

    /// The server's counts of open connections, streams and so on.
    pub fn gauges(&self) -> &ServerGauges {
        &self.gauges
    }

    /// The address of its metrics.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Reloads the server's files.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// A client on a new connection.
    pub fn posts(&self) -> PostServiceClient<Channel> {
        PostServiceClient::new(self.channel())
    }

    /// Begins to stop the server, as a signal would.
    pub fn begin_stop(self) -> JoinHandle<Result<(), ServerError>> {
        drop(self.stop);
        self.served
    }

    /// Stops the server and waits until all of its tasks have ended.
    pub async fn stop(self) {
        soon(self.begin_stop()).await.unwrap().unwrap();
    }
}

/// The link under the first connection of a fragile channel.
#[derive(Clone, Default)]
pub struct Link {
    broken: CancellationToken,
    used: Arc<AtomicBool>,
}

impl Link {
    /// Drops all later bytes without closing the connection.
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

/// A channel to this service through memory, and the task that serves it.
pub fn serve_routes(service: HttpService) -> (Channel, JoinHandle<()>) {
    let (connector, served) = listen(service);
    (piped(connector).build(), served)
}

/// A raw connection to this service.
pub async fn pipe_to(service: HttpService) -> DuplexStream {
    let (connector, _served) = listen(service);
    connector.connect().await.unwrap()
}

fn listen(service: HttpService) -> (Connector, JoinHandle<()>) {
    let (connector, listener) = memory::listen();
    let settings = Settings::default().connections;
    let served = connection::serve(listener, service, settings, CancellationToken::new());
    (connector, tokio::task::spawn(served))
}

/// A server with its log in this directory.
pub fn on_disk(data: &Path) -> Settings {
    Settings { log: LogSettings::directory(data), ..Settings::default() }
}

pub fn target(address: SocketAddr) -> Target {
    format!("http://{address}").parse().unwrap()
}

/// A channel whose connections are pipes to a server that listens on the other end of `connector`.
pub fn piped(connector: Connector) -> Builder {
    in_memory().dialer(move |_: Address| {
        let connector = connector.clone();
        async move { Ok(Box::new(connector.connect().await?) as BoxedIo) }
    })
}

fn in_memory() -> Builder {
    Channel::builder("passthrough:///in.memory".parse().unwrap())
}
