#!/usr/bin/env bash
# tonic 0.14.9: the status of a message that is larger than a side allows.
#
# Expected, by gRPC's statuscodes document ("Server" and "Client", "message exceeds the configured max size"), and as
# grpc-go, grpc-java and gRPC's C core do it: RESOURCE_EXHAUSTED, on either side.
# Seen: OUT_OF_RANGE on both. A retry policy or a client that follows the document does not recognise it, and a service
# that uses OUT_OF_RANGE itself, as for a position in a stream, cannot tell the two apart.
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
prost = "=0.14.4"
tokio = { version = "1", features = ["macros", "net", "rt"] }
tokio-stream = { version = "0.1", features = ["net"] }
tonic = { version = "=0.14.9", default-features = false, features = ["channel", "codegen", "router", "server"] }
tonic-prost = "=0.14.9"
tower = { version = "0.5", features = ["util"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::{convert::Infallible, task::{Context, Poll}};

use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc as Client,
    codegen::{BoxFuture, http, http::uri::PathAndQuery},
    server::{Grpc as Server, NamedService},
    transport::{self, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Answers with the message, and takes messages of up to 1 KiB.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "a.B";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = ProstCodec::<String, String>::default();
        let mut grpc = Server::new(codec).max_decoding_message_size(1024);
        Box::pin(async move {
            let echo = |request: Request<String>| async move {
                Ok::<_, Status>(Response::new(request.into_inner()))
            };
            Ok(grpc.unary(service_fn(echo), request).await)
        })
    }
}

/// The code of a call with a message of so many bytes, by a client that reads so many.
async fn code(url: &str, bytes: usize, limit: usize) -> tonic::Code {
    let channel = Endpoint::new(url.to_owned()).unwrap().connect().await.unwrap();
    let mut client = Client::new(channel).max_decoding_message_size(limit);
    client.ready().await.unwrap();
    let codec = ProstCodec::<String, String>::default();
    let path = PathAndQuery::from_static("/a.B/C");
    let answer = client.unary(Request::new("x".repeat(bytes)), path, codec).await;
    answer.map_or_else(|status| status.code(), |_| tonic::Code::Ok)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(transport::Server::builder().add_service(Echo).serve_with_incoming(incoming));
    let within = code(&url, 500, 1024).await;
    let server = code(&url, 5000, 1024).await;
    let client = code(&url, 500, 100).await;
    println!("within the limits {within:?}; over the server's {server:?}; over the client's {client:?}");
}
RUST
cd "$dir"
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
[ "$seen" = "within the limits Ok; over the server's OutOfRange; over the client's OutOfRange" ]
