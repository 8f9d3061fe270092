//! Servers to compare with: as tutorials write them, and the limit.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::{console::answer, error::Result, proto::post_service_server::PostServiceServer};
use lists::Style;
use tutorial::Tutorial;

mod tutorial;

mod feed;
mod lists;
mod raw_tcp;
mod stored;

/// Which peer, and where.
#[derive(Debug, Args)]
pub(crate) struct Options {
    peer: Peer,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// The peers that are written in Rust.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    /// tonic with prost: lists from an `async_stream`, feeds over `tokio::sync::broadcast`.
    AsyncStream,
    /// The same with 256 posts in a message.
    AsyncStreamBatched,
    /// The same with a spawned task and `mpsc::channel(4)` for a list.
    Mpsc4,
    /// Posts in 64 KiB writes to a TCP connection.
    RawTcp,
}

/// Serves until the process is ended.
#[tokio::main]
pub(crate) async fn serve(options: &Options) -> Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    // Before it says that it is there: making them is no part of the work.
    let frames = if matches!(options.peer, Peer::RawTcp) { raw_tcp::frames() } else { Vec::new() };
    answer(&format!("listening on http://{}", listener.local_addr()?));
    match options.peer {
        Peer::AsyncStream => grpc(listener, Style::AsyncStream).await,
        Peer::AsyncStreamBatched => grpc(listener, Style::Batched).await,
        Peer::Mpsc4 => grpc(listener, Style::Mpsc4).await,
        Peer::RawTcp => raw_tcp::serve(&listener, frames).await,
    }
}

async fn grpc(listener: TcpListener, style: Style) -> Result<()> {
    let incoming = TcpListenerStream::new(listener);
    // tonic sets this only on the sockets that it binds itself.
    let incoming = tokio_stream::StreamExt::map(incoming, |stream| {
        stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
    });
    let service = PostServiceServer::new(Tutorial::new(style));
    Ok(Server::builder().add_service(service).serve_with_incoming(incoming).await?)
}
