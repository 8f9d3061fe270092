//! Lesson 9: a retry keeps its id.

use quartet::post::v1::PostMessage;
use tonic::Status;

use crate::{
    stage::{Client, Stage, posts},
    verdict::Verdict,
};

/// Makes ids that are never the same.
#[derive(Debug, Default)]
pub struct Ids(usize);

impl Ids {
    /// A new id.
    pub fn next_id(&mut self) -> String {
        self.0 += 1;
        format!("id-{}", self.0)
    }
}

/// The program publishes one post. The first answer of the server is lost.
///
/// # Errors
/// The post is in the log twice, or not at all.
pub async fn check(
    program: impl AsyncFn(Client, PostMessage, &mut Ids) -> Result<(), Status>,
) -> Verdict {
    let stage = Stage::open().await?;
    let mut draft = posts(1, 10).remove(0);
    draft.post_id.clear();
    stage.wire().lose_answer();
    let published = program(stage.client(), draft, &mut Ids::default()).await;
    published.map_err(|status| status.to_string())?;
    match stage.log().await?.len() {
        1 => Ok(()),
        count => Err(format!(
            "The server stored the post, and the connection was cut before its answer arrived.\n\
             The program published one post, and the log has {count}."
        )),
    }
}
