//! Lesson 4: resume after a position.

use tonic::Status;

use crate::{
    judge,
    reader::Reader,
    stage::{Client, Stage, posts},
    verdict::Verdict,
};

/// The program reads the whole log through a cut.
///
/// # Errors
/// It gives up, or its reader sees a gap or a duplicate.
pub async fn check(program: impl AsyncFn(Client, &mut Reader) -> Result<(), Status>) -> Verdict {
    let stage = Stage::open().await?;
    stage.write(posts(64, 16 * 1024)).await?;
    stage.wire().cut_after(256 * 1024);
    let mut reader = Reader::default();
    program(stage.client(), &mut reader).await.map_err(|status| status.to_string())?;
    if !stage.wire().was_cut() {
        return Err("The program read too little for a cut.".to_owned());
    }
    judge::order(&stage.log().await?, &reader)?;
    match reader.count() {
        64 => Ok(()),
        count => Err(format!("The log has 64 posts, and the reader handled {count}.")),
    }
}
