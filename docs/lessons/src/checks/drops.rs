//! Lesson 7: `select!` drops the branch that loses.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;

use crate::{
    judge,
    reader::Reader,
    stage::{Client, PATIENCE, Stage, posts},
    verdict::Verdict,
};

/// The program follows the log, two batches at a time, until it has handled this many posts. One
/// post comes every 730 ms.
///
/// # Errors
/// The reader sees a gap, or no clock.
pub async fn check(
    program: impl AsyncFn(Client, &mut Reader, usize) -> Result<(), Status>,
) -> Verdict {
    let (stage, mut reader) = (Stage::open().await?, Reader::default());
    let write = stage.write_slowly(posts(20, 10), Duration::from_millis(730));
    let follow = timeout(PATIENCE, program(stage.client(), &mut reader, 20));
    let (written, followed) = tokio::join!(write, follow);
    written?;
    if let Ok(Err(status)) = followed {
        return Err(status.to_string());
    }
    judge::order(&stage.log().await?, &reader)?;
    if reader.ticks() < 10 {
        return Err(format!("In 14 s the clock was shown {} times.", reader.ticks()));
    }
    match reader.count() {
        20 => Ok(()),
        count => Err(format!("20 posts were written, and the reader handled {count}.")),
    }
}
