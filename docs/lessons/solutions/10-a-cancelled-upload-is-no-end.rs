//! A handler of uploads that stores whole uploads only.

use futures::StreamExt as _;
use quartet::post::v1::upload_posts_request::Payload;
use quartet_lessons::checks::cancel::{Shelf, Upload};
use tonic::Status;

pub async fn receive(mut upload: Upload, shelf: &mut Shelf) -> Result<(), Status> {
    let mut posts = Vec::new();
    while let Some(message) = upload.next().await {
        match message?.payload {
            Some(Payload::PostMessage(post)) => posts.push(post),
            // Only a finish with the right count says that this is the whole upload.
            Some(Payload::Finish(finish)) if finish.post_count == posts.len() as i64 => {
                shelf.store(posts);
                return Ok(());
            }
            _ => return Err(Status::invalid_argument("the finish counts other posts")),
        }
    }
    Err(Status::data_loss("the upload ended without a finish"))
}
