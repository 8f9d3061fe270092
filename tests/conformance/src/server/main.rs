//! `quartet-connection` as the server under test: bare, or with the argument `chain` behind the
//! layers of the Quartet server.
//!
//! The suite writes to stdin what is to be served, reads from stdout where that is, and ends the
//! server by a signal.

use std::{env, error::Error};

use conformance::proto::{ServerCompatRequest, ServerCompatResponse};
use quartet_connection::{
    Generated, HttpService, Routes, Settings, serve,
    tls::{Tls, TlsPem},
};
use quartet_server::chain::Chain;
use service::{Conformance, TAKE_ONE};
use tokio::{
    io::{stdin, stdout},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

mod plan;
mod service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let request: ServerCompatRequest =
        conformance::read(&mut stdin()).await?.ok_or("nothing to serve")?;
    let settings = Settings { tls: tls(&request)?, ..Settings::default() };
    let limit = (request.message_receive_limit > 0).then_some(request.message_receive_limit);
    let service = Generated::new(Conformance::new(limit)).single_requests(TAKE_ONE);
    let routes = Routes::new(service);
    let service = match env::args().nth(1).as_deref() {
        Some("chain") => Chain::default().around(routes),
        _ => HttpService::new(routes),
    };

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let response = ServerCompatResponse {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr()?.port().into(),
        pem_cert: request.server_creds.unwrap_or_default().cert,
    };
    conformance::write(&mut stdout(), &response).await?;
    serve(listener, service, settings, CancellationToken::new()).await;
    Ok(())
}

fn tls(request: &ServerCompatRequest) -> Result<Option<Tls>, Box<dyn Error>> {
    let Some(own) = request.server_creds.as_ref().filter(|_| request.use_tls) else {
        return Ok(None);
    };
    let client_ca = Some(&*request.client_tls_cert).filter(|ca| !ca.is_empty());
    let pem = TlsPem { certificate: &own.cert, key: &own.key, client_ca };
    Ok(Some(Tls::from_pem(pem)?))
}
