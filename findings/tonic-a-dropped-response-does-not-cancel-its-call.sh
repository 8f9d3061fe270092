#!/usr/bin/env bash
# tonic 0.14.9 (hyper 1): dropping the response of a bidirectional call does not cancel the call.
#
# Expected, as grpc-go's context and gRPC's cancellation guide have it: a client that lets go of a call resets its
# stream (RST_STREAM, CANCEL), so that the server stops working for it.
# Seen: once the response headers have come, the stream stays open for as long as the program keeps the sender of its
# requests, for instance in another task. The reset comes when the sender is dropped.
#
# Needs cargo and a registry. Fails if the behaviour has changed.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat >"$dir/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
h2 = "=0.4.20"
http = "1"
tokio = { version = "1", features = ["macros", "net", "rt", "sync", "time"] }
tokio-stream = "0.1"
tonic = { version = "=0.14.9", default-features = false, features = ["channel", "codegen", "server"] }
tonic-prost = "=0.14.9"
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::time::Duration;

use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

/// A server that answers with headers, keeps the response open, and reports how the stream ends.
async fn serve(listener: TcpListener, ended: mpsc::Sender<String>) {
    let (io, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
        let ended = ended.clone();
        tokio::spawn(async move {
            let reset = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            let _ = ended.send(format!("{:?}", reset.unwrap())).await;
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (report, mut ended) = mpsc::channel(1);
    tokio::spawn(serve(listener, report));
    let mut client = Grpc::new(Endpoint::new(url).unwrap().connect().await.unwrap());
    client.ready().await.unwrap();
    let (sender, requests) = mpsc::channel::<()>(1);
    let path = PathAndQuery::from_static("/a.B/C");
    let request = Request::new(ReceiverStream::new(requests));
    let codec = ProstCodec::<(), ()>::default();
    let response = client.streaming(request, path, codec).await.unwrap();
    drop(response);
    let within = timeout(Duration::from_secs(3), ended.recv()).await;
    println!("response dropped: {}", within.map_or("open after 3 s".into(), |it| it.unwrap()));
    drop(sender);
    let within = timeout(Duration::from_secs(3), ended.recv()).await;
    println!("sender dropped:   {}", within.map_or("open after 3 s".into(), |it| it.unwrap()));
}
RUST
cd "$dir"
seen=$(cargo run --quiet)
echo "$seen"
[ "$seen" = "response dropped: open after 3 s
sender dropped:   CANCEL" ]
