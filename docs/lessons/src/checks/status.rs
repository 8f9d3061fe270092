//! Lesson 2: the status at the end.

use quartet::post::v1::PostMessage;
use tonic::Status;

use crate::{
    stage::{Client, Stage, posts},
    verdict::Verdict,
};

/// The program returns all posts or an error. It runs once undisturbed and once with a cut.
///
/// # Errors
/// A part of the log passes as the whole.
pub async fn check(program: impl AsyncFn(Client) -> Result<Vec<PostMessage>, Status>) -> Verdict {
    let stage = Stage::open().await?;
    stage.write(posts(64, 16 * 1024)).await?;
    let whole = program(stage.client()).await.map_err(|status| status.to_string())?;
    if whole.len() != 64 {
        return Err(format!("The log has 64 posts, and the program returned {}.", whole.len()));
    }
    stage.wire().cut_after(256 * 1024);
    match program(stage.client()).await {
        Ok(part) if part.len() < 64 => Err("The connection was cut in the middle of the list.\n\
             The program returned Ok with a part of the posts, as if that were the whole log."
            .to_owned()),
        _ => Ok(()),
    }
}
