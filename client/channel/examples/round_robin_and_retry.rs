//! Calls a plain tonic service on two servers, with round_robin and a retry policy. One of the
//! servers fails once, and no call does.
//!
//! ```console
//! $ cargo run -p quartet-channel-examples
//! 127.0.0.1:40567 and 127.0.0.1:43211 serve demo.Greeter
//! call 1: 127.0.0.1:43211 says "Hello, Kim!"
//! call 2: 127.0.0.1:40567 says "Hello, Kim!"
//! call 3: 127.0.0.1:40567 says "Hello, Kim!", after 1 failed attempt
//! …
//! ```
//!
//! It checks what it prints, and exits with code 1 if a check fails.

#![allow(clippy::print_stdout, reason = "the output of the example")]

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use quartet_channel::{Address, Channel, ServedBy};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::greeter_server::{Greeter, GreeterServer};

mod generated {
    #![allow(missing_docs, missing_debug_implementations, unreachable_pub, reason = "generated")]
    tonic::include_proto!("demo.Greeter");
}
use generated::{greeter_client::GreeterClient, greeter_server};

const CONFIG: &str = r#"{
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": [{"service": "demo.Greeter"}],
        "timeout": "5s",
        "retryPolicy": {
            "maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.1s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
        }
    }]
}"#;

const CALLS: u32 = 6;
/// The request that fails, counted over both servers.
const FAILING: u32 = 3;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut servers = JoinSet::new();
    let requests = Arc::new(AtomicU32::new(0));
    let first = serve(&mut servers, requests.clone()).await?;
    let second = serve(&mut servers, requests.clone()).await?;
    println!("{first} and {second} serve demo.Greeter");

    let channel = Channel::builder(format!("ipv4:{first},{second}").parse()?)
        .service_config(CONFIG.parse()?)
        .build();
    channel.settle().await; // both are connected, so each gets its share from the first call on
    let mut client = GreeterClient::new(channel);

    let (mut shares, mut retried) = (BTreeMap::<SocketAddr, u32>::new(), 0);
    for number in 1..=CALLS {
        let response = client.hello("Kim".to_owned()).await?;
        let Some(ServedBy(Address::Tcp(server))) = response.extensions().get().cloned() else {
            return Err("the response does not name its server".into());
        };
        let failed = failed_attempts(&response);
        let retries =
            if failed > 0 { format!(", after {failed} failed attempt") } else { "".into() };
        println!("call {number}: {server} says {:?}{retries}", response.get_ref());
        *shares.entry(server).or_default() += 1;
        retried += failed;
    }

    let expected = BTreeMap::from([(first, CALLS / 2), (second, CALLS / 2)]);
    check(shares == expected, "each server answers half of the calls")?;
    check(retried == 1, "one call is retried, once")?;
    check(requests.load(Ordering::Relaxed) == CALLS + 1, "the servers get one request more")
}

fn check(holds: bool, claim: &str) -> Result<(), Box<dyn Error>> {
    if !holds {
        return Err(format!("this does not hold: {claim}").into());
    }
    println!("checked: {claim}");
    Ok(())
}

/// Starts a server on a free port. It runs until `servers` is dropped.
async fn serve(
    servers: &mut JoinSet<Result<(), tonic::transport::Error>>,
    requests: Arc<AtomicU32>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = GreeterServer::new(Unreliable { requests });
    let incoming = TcpListenerStream::new(listener);
    servers.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    Ok(address)
}

/// A service like any other, but for one request that fails.
struct Unreliable {
    requests: Arc<AtomicU32>,
}

/// How many attempts of this call failed before, as the channel reports it to servers.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

#[tonic::async_trait]
impl Greeter for Unreliable {
    async fn hello(&self, request: Request<String>) -> Result<Response<String>, Status> {
        if self.requests.fetch_add(1, Ordering::Relaxed) + 1 == FAILING {
            return Err(Status::unavailable("this server is restarting"));
        }
        let previous = request.metadata().get(PREVIOUS_ATTEMPTS).cloned();
        let mut response = Response::new(format!("Hello, {}!", request.get_ref()));
        if let Some(previous) = previous {
            response.metadata_mut().insert(PREVIOUS_ATTEMPTS, previous);
        }
        Ok(response)
    }
}

/// How many attempts failed before the one that was answered: the server sends the number back.
fn failed_attempts<T>(response: &Response<T>) -> u32 {
    let previous = response.metadata().get(PREVIOUS_ATTEMPTS);
    previous.and_then(|previous| previous.to_str().ok()?.parse().ok()).unwrap_or(0)
}
