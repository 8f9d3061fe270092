#!/usr/bin/env bash
# tonic 0.14.9 (h2 0.4, hyper 1): what a server's RST_STREAM means to a client depends on a feature for servers.
#
# Expected, by gRPC's PROTOCOL-HTTP2 ("Errors"): a stream that is reset with CANCEL ends CANCELLED, and one that is
# reset with ENHANCE_YOUR_CALM ends RESOURCE_EXHAUSTED, in every build of a client.
# Seen: so it is in a build with tonic's feature `server`. A build with `channel` alone says UNKNOWN for both. A
# workspace or a test that turns `server` on anywhere hides it.
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
[features]
server = ["tonic/server"]
[dependencies]
h2 = "=0.4.20"
tokio = { version = "1", features = ["macros", "net", "rt"] }
tonic = { version = "=0.14.9", default-features = false, features = ["channel", "codegen"] }
tonic-prost = "=0.14.9"
TOML
cat >"$dir/src/main.rs" <<'RUST'
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

/// A server that resets every stream with this code.
async fn reset_all(listener: tokio::net::TcpListener, reason: h2::Reason) {
    let (io, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        respond.send_reset(reason);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for reason in [h2::Reason::CANCEL, h2::Reason::ENHANCE_YOUR_CALM] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(reset_all(listener, reason));
        let mut client = Grpc::new(Endpoint::new(url).unwrap().connect().await.unwrap());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/a.B/C");
        let codec = ProstCodec::<(), ()>::default();
        let status = client.unary(Request::new(()), path, codec).await.unwrap_err();
        print!("{reason:?} {:?}; ", status.code());
    }
    println!();
}
RUST
cd "$dir"
channel=$(cargo run --quiet)
server=$(cargo run --quiet --features server)
printf 'with channel alone:      %s\nwith channel and server: %s\n' "$channel" "$server"
[ "$channel" = "CANCEL Unknown; ENHANCE_YOUR_CALM Unknown; " ]
[ "$server" = "CANCEL Cancelled; ENHANCE_YOUR_CALM ResourceExhausted; " ]
