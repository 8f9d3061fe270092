//! Takes `quartet-channel`: calls a server that first resets a stream and then answers.
//!
//! The server is bare h2. One made by tonic would turn on tonic's feature `server`, without which a
//! client might see another code for a reset stream.

use std::error::Error;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response, uri::PathAndQuery};
use quartet_channel::{CallError, Channel};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status, client::Grpc};

const CONFIG: &str = r#"{
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{"name": [{"service": "demo.Greeter"}], "timeout": "5s", "waitForReady": true}]
}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let target = format!("ipv4:{}", listener.local_addr()?).parse()?;
    let channel = Channel::builder(target).service_config(CONFIG.parse()?).build();
    tokio::select! {
        served = serve(&listener) => served,
        called = call(channel) => called,
    }
}

async fn call(channel: Channel) -> Result<(), Box<dyn Error>> {
    let cancelled = hello(channel.clone()).await.expect_err("the stream is reset");
    assert_eq!(cancelled.code(), Code::Cancelled, "{cancelled}");
    assert_eq!(hello(channel).await.map_err(CallError::from)?, "Hello");
    Ok(())
}

async fn hello(channel: Channel) -> Result<String, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (request, codec) = (Request::new("Kim".to_owned()), tonic_prost::ProstCodec::default());
    let path = PathAndQuery::from_static("/demo.Greeter/Hello");
    let response = client.unary::<String, String, _>(request, path, codec).await?;
    Ok(response.into_inner())
}

/// Serves one connection: resets its first stream and answers the others.
async fn serve(listener: &TcpListener) -> Result<(), Box<dyn Error>> {
    let (stream, _) = listener.accept().await?;
    let mut connection = h2::server::handshake(stream).await?;
    let mut first = true;
    while let Some(call) = connection.accept().await {
        let (_, mut respond) = call?;
        if std::mem::take(&mut first) {
            respond.send_reset(Reason::CANCEL);
            continue;
        }
        let head = Response::builder().header("content-type", "application/grpc").body(())?;
        let mut body = respond.send_response(head, false)?;
        // A message of one field: the string "Hello".
        body.send_data(Bytes::from_static(b"\0\0\0\0\x07\x0a\x05Hello"), false)?;
        let status = HeaderValue::from_static("0");
        body.send_trailers(HeaderMap::from_iter([("grpc-status".parse()?, status)]))?;
    }
    Ok(())
}
