//! Lesson 6: a queue has a bound.

use tokio::time::timeout;
use tonic::Status;

use crate::{
    reader::SlowReader,
    stage::{Client, PATIENCE, Stage, posts},
    verdict::Verdict,
};

/// The stream's flow-control window: what the server may send before the program reads.
const WINDOW: u32 = 64 * 1024;

/// The program passes the log on to a reader that takes one batch an hour.
///
/// # Errors
/// It takes much more from the server than its reader takes from it.
pub async fn check(
    program: impl AsyncFn(Client, &mut SlowReader) -> Result<(), Status>,
) -> Verdict {
    let stage = Stage::open().await?;
    stage.write(posts(128, 32 * 1024)).await?;
    let mut reader = SlowReader::default();
    let client = stage.client_with(|builder| builder.stream_window(WINDOW));
    if timeout(PATIENCE, program(client, &mut reader)).await.is_ok() || reader.taken() != 1 {
        return Err("The program does not wait for its reader.".to_owned());
    }
    let received = stage.wire().received();
    if received < 1024 * 1024 {
        return Ok(());
    }
    let mebibytes = received / (1024 * 1024);
    Err(format!(
        "The reader has taken 1 batch.\n\
         The program has taken {mebibytes} MiB from the server and holds them in memory."
    ))
}
