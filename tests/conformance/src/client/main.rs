//! `quartet-channel` as the client under test. The suite writes cases to stdin, and reads what
//! happened to each from stdout; `call.rs` makes the call of a case.

use std::{io, sync::Arc, time::Duration};

use conformance::proto::{
    ClientCompatRequest, ClientCompatResponse, ClientErrorResult,
    client_compat_response::Result as Outcome,
};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::timeout,
};

mod bytes_codec;
mod call;

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
    while let Some(case) = conformance::read(&mut stdin).await? {
        let (stdout, room) = (stdout.clone(), room.clone());
        calls.spawn(async move {
            let _room = room.acquire().await.map_err(io::Error::other)?;
            let outcome = outcome(case).await;
            conformance::write(&mut *stdout.lock().await, &outcome).await
        });
    }
    while let Some(reported) = calls.join_next().await {
        reported??;
    }
    Ok(())
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
