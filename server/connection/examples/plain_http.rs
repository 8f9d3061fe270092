//! Serves an ordinary HTTP/2 service that is not gRPC: it answers with the body of the request.
//!
//! `cargo run -p quartet-connection --example plain_http -- 127.0.0.1:9001`. The tests let h2spec
//! judge the connections of this crate by it, because h2spec's requests are not those of gRPC.

use std::{env, error::Error, io::Write as _};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use quartet_connection::{HttpService, RequestBody, Settings, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::service_fn;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let drain = CancellationToken::new();
    tokio::select! {
        () = serve(listener, HttpService::new(service_fn(echo)), Settings::default(), drain) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

async fn echo(request: Request<RequestBody>) -> Result<Response<Full<bytes::Bytes>>, Status> {
    let body = request.into_body().collect().await?.to_bytes();
    let body = if body.is_empty() { "an empty request".into() } else { body };
    Ok(Response::new(Full::new(body)))
}
