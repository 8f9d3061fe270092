//! Lesson 8: a deadline is for the call.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::{
    stage::{Client, PATIENCE, Stage, posts},
    verdict::Verdict,
};

/// The program may follow the log for 5 s. One post comes every 2 s.
///
/// # Errors
/// The program runs on.
pub async fn check(program: impl AsyncFn(Client, Duration) -> Result<(), Status>) -> Verdict {
    let (stage, limit) = (Stage::open().await?, Duration::from_secs(5));
    let start = Instant::now();
    let follow = async {
        let end = timeout(PATIENCE, program(stage.client(), limit)).await;
        (end, start.elapsed())
    };
    let write = stage.write_slowly(posts(40, 10), Duration::from_secs(2));
    let (written, (end, elapsed)) = tokio::join!(write, follow);
    written?;
    match end {
        Err(_) => Err("The call may take 5 s. It still ran after 60 s.".to_owned()),
        Ok(Err(status)) if status.code() == Code::DeadlineExceeded => {
            if elapsed < 2 * limit {
                return Ok(());
            }
            Err(format!("The call may take 5 s. It took {} s.", elapsed.as_secs()))
        }
        Ok(end) => Err(format!("The call must end with DEADLINE_EXCEEDED, not with {end:?}.")),
    }
}
