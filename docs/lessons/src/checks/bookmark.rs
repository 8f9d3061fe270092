//! Lesson 5: save a bookmark last.

use tonic::Status;

use crate::{
    judge,
    reader::Desk,
    stage::{Client, Stage, posts},
    verdict::Verdict,
};

/// The program handles the log at a desk. It is killed once, and started again.
///
/// # Errors
/// The desk sees a gap or a duplicate.
pub async fn check(program: impl AsyncFn(Client, &mut Desk) -> Result<(), Status>) -> Verdict {
    let stage = Stage::open().await?;
    stage.write(posts(64, 16 * 1024)).await?;
    let mut desk = Desk::crashing_at(3);
    if program(stage.client(), &mut desk).await.is_ok() {
        return Err("The program was killed, and returned Ok.".to_owned());
    }
    program(stage.client(), &mut desk).await.map_err(|status| status.to_string())?;
    judge::order(&stage.log().await?, desk.reader())?;
    match desk.reader().count() {
        64 => Ok(()),
        count => Err(format!("The log has 64 posts, and the desk handled {count}.")),
    }
}
