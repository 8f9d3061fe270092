//! The client under test of ConnectRPC's conformance suite, the Go module
//! `connectrpc.com/conformance`.
//!
//! The suite writes cases to stdin, and reads what happened to each from stdout; both are messages
//! with four bytes of length before them. `call.rs` makes the call of a case by `quartet-channel`.

use std::{io, sync::Arc, time::Duration};

use prost::Message as _;
use proto::{
    ClientCompatRequest, ClientCompatResponse, ClientErrorResult,
    client_compat_response::Result as Outcome,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Stdout},
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::timeout,
};

mod bytes_codec;
mod call;
#[allow(dead_code, clippy::all)] // generated
mod proto {
    include!(concat!(env!("OUT_DIR"), "/connectrpc.conformance.v1.rs"));
}

/// Calls at once.
const AT_ONCE: usize = 16;
/// Longer than any case takes.
const TOO_LONG: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> io::Result<()> {
    let stdout = Arc::new(Mutex::new(tokio::io::stdout()));
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut stdin = tokio::io::stdin();
    let mut calls = JoinSet::new();
    while let Some(case) = next_case(&mut stdin).await? {
        let (stdout, room) = (stdout.clone(), room.clone());
        calls.spawn(async move {
            let _room = room.acquire().await.map_err(io::Error::other)?;
            report(&stdout, outcome(case).await).await
        });
    }
    while let Some(reported) = calls.join_next().await {
        reported??;
    }
    Ok(())
}

/// The next case; `None` after the last.
async fn next_case(stdin: &mut tokio::io::Stdin) -> io::Result<Option<ClientCompatRequest>> {
    let length = match stdin.read_u32().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length?,
    };
    let mut case = vec![0; length as usize];
    stdin.read_exact(&mut case).await?;
    ClientCompatRequest::decode(case.as_slice()).map(Some).map_err(io::Error::other)
}

async fn outcome(case: ClientCompatRequest) -> ClientCompatResponse {
    let test_name = case.test_name.clone();
    let result = match timeout(TOO_LONG, call::make(case)).await {
        Ok(Ok(response)) => Outcome::Response(response),
        Ok(Err(message)) => Outcome::Error(ClientErrorResult { message }),
        Err(_) => Outcome::Error(ClientErrorResult { message: "the call hangs".to_owned() }),
    };
    ClientCompatResponse { test_name, result: Some(result) }
}

async fn report(stdout: &Mutex<Stdout>, outcome: ClientCompatResponse) -> io::Result<()> {
    let outcome = outcome.encode_to_vec();
    let mut stdout = stdout.lock().await;
    stdout.write_u32(outcome.len() as u32).await?;
    stdout.write_all(&outcome).await?;
    stdout.flush().await
}
