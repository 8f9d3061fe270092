//! Lesson 1: a stream is lazy.

use tonic::Status;

use crate::{
    stage::{Client, Stage, posts},
    verdict::Verdict,
    wire::{From, Kind},
};

/// The program counts the posts of the log.
///
/// # Errors
/// The count is wrong.
pub async fn check(program: impl AsyncFn(Client) -> Result<usize, Status>) -> Verdict {
    let stage = Stage::open().await?;
    stage.write(posts(64, 16 * 1024)).await?;
    let counted = program(stage.client()).await.map_err(|status| status.to_string())?;
    stage.settle().await;
    if counted == 64 {
        return Ok(());
    }
    let gave_up = stage.wire().count(From::Client, Kind::Reset) > 0;
    let wire = if gave_up { "a RST_STREAM of the client" } else { "no RST_STREAM" };
    Err(format!("The log has 64 posts, and the program counted {counted}.\nOn the wire: {wire}."))
}
