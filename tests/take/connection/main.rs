//! Takes `quartet-connection`: serves on a port, answers a call, and drains.

use std::error::Error;

use quartet_connection::{HttpService, Routes, Settings, serve};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let drain = CancellationToken::new();
    // `.add_service(…)` takes the servers that tonic generates.
    let service = HttpService::new(Routes::default());
    let serving = serve(listener, service, Settings::default(), drain.clone());
    let calling = async {
        let (mut requests, connection) =
            h2::client::handshake(TcpStream::connect(address).await?).await?;
        let request = http::Request::post("http://server/package.Service/Method")
            .header("content-type", "application/grpc")
            .body(())?;
        let (response, _) = requests.send_request(request, true)?;
        let response = tokio::select! {
            response = response => response?,
            ended = connection => return Err(format!("{ended:?}").into()),
        };
        assert_eq!(response.headers()["grpc-status"], "12", "UNIMPLEMENTED: no service");
        drain.cancel();
        Ok::<_, Box<dyn Error>>(())
    };
    let (_, called) = tokio::join!(serving, calling);
    called
}
