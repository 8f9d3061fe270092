//! Lesson 3: an upload says that it is finished.

use quartet::post::v1::{PostMessage, UploadPostsResponse};
use tonic::Status;

use crate::{
    stage::{Client, Stage, posts},
    verdict::Verdict,
};

/// The program uploads posts and returns the answer.
///
/// # Errors
/// The server cannot know that these were all posts.
pub async fn check(
    program: impl AsyncFn(Client, Vec<PostMessage>) -> Result<UploadPostsResponse, Status>,
) -> Verdict {
    let stage = Stage::open().await?;
    program(stage.client(), posts(3, 10)).await.map_err(|status| status.to_string()).and_then(
        |answer| match (answer.created_count, answer.complete) {
            (3, true) => Ok(()),
            (stored, complete) => Err(format!(
                "The server answered: created_count = {stored}, complete = {complete}.\n\
                 It cannot tell this upload from one whose client died after post {stored}."
            )),
        },
    )
}
