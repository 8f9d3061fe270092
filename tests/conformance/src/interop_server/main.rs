//! gRPC's interop test service on `quartet-connection`, bare or with `--chain` behind the layers of
//! the Quartet server:
//!
//! ```text
//! interop-server [--chain] [CERTIFICATE KEY]
//! ```

use std::{env, error::Error, io::Write as _};

use quartet_connection::{
    Generated, HttpService, Routes, Settings, serve,
    tls::{Tls, TlsFiles},
};
use quartet_server::chain::Chain;
use service::{TAKE_ONE, TestService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod flags;
mod service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let is_behind_chain = arguments.first().is_some_and(|first| first == "--chain");
    let files = arguments.split_off(usize::from(is_behind_chain));
    let tls = match &files[..] {
        [certificate, key] => {
            let (certificate, key) = (certificate.into(), key.into());
            Some(Tls::from_files(TlsFiles { certificate, key, client_ca: None })?)
        }
        _ => None,
    };
    let routes = Routes::new(Generated::new(TestService).single_requests(TAKE_ONE));
    let service = match is_behind_chain {
        true => Chain::default().around(routes),
        false => HttpService::new(routes),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    writeln!(std::io::stdout(), "listening on {scheme}://{}", listener.local_addr()?)?;
    let settings = Settings { tls, ..Settings::default() };
    serve(listener, service, settings, CancellationToken::new()).await;
    Ok(())
}
