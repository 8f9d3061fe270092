//! A TCP proxy that can cut, stall and slow its connections, in either direction.

use std::{net::SocketAddr, time::Duration};

use quartet_client::Channel;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::task::TaskTracker;

use super::server;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    /// Stops reading while this is true.
    pub stalled: bool,
    /// Delays every chunk this long.
    pub delay: Duration,
    /// Cuts the connection after this many bytes.
    pub cut_after: Option<usize>,
}

/// A proxy at its own port. It ends, with all its connections, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    to_server: watch::Sender<Flow>,
    to_client: watch::Sender<Flow>,
    /// The number of cuts so far; each ends the connections opened before it.
    cuts: watch::Sender<usize>,
    accept: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to_server, to_client) = (watch::Sender::default(), watch::Sender::default());
        let cuts = watch::Sender::new(0);
        let through = Through {
            server,
            to_server: to_server.subscribe(),
            to_client: to_client.subscribe(),
            cuts: cuts.subscribe(),
        };
        let accept = tokio::task::spawn(accept(listener, through));
        Self { address, to_server, to_client, cuts, accept }
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Changes the flow of bytes towards the server.
    pub fn to_server(&self, change: impl FnOnce(&mut Flow)) {
        self.to_server.send_modify(change);
    }

    /// Changes the flow of bytes towards the client.
    pub fn to_client(&self, change: impl FnOnce(&mut Flow)) {
        self.to_client.send_modify(change);
    }

    pub fn channel(&self) -> Channel {
        Channel::builder(server::target(self.address)).build()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accept.abort();
    }
}

#[derive(Clone)]
struct Through {
    server: SocketAddr,
    to_server: watch::Receiver<Flow>,
    to_client: watch::Receiver<Flow>,
    cuts: watch::Receiver<usize>,
}

async fn accept(listener: TcpListener, mut through: Through) {
    let connections = TaskTracker::new();
    while let Ok((client, _)) = listener.accept().await {
        through.cuts.mark_unchanged();
        connections.spawn(connection(client, through.clone()));
    }
}

async fn connection(client: TcpStream, mut through: Through) {
    let Ok(server) = TcpStream::connect(through.server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = through.cuts.changed() => {}
        () = pump(from_client, to_server, through.to_server.clone()) => {}
        () = pump(from_server, to_client, through.to_client.clone()) => {}
    }
}

/// Copies bytes until either end is gone or a cut is due.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut flow: watch::Receiver<Flow>) {
    let mut carried = 0;
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let Ok(now) = flow.wait_for(|flow| !flow.stalled).await.map(|flow| *flow) else { return };
        if !now.delay.is_zero() {
            sleep(now.delay).await;
        }
        let room = now.cut_after.map_or(length, |limit| limit.saturating_sub(carried).min(length));
        if to.write_all(&chunk[..room]).await.is_err() || room < length {
            return;
        }
        carried += length;
    }
}
