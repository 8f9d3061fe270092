//! A handler of uploads that stores whole uploads only.

use futures::StreamExt as _;
use quartet::post::v1::upload_posts_request::Payload;
use quartet_lessons::checks::cancel::{Shelf, Upload};
use tonic::Status;

pub async fn receive(mut upload: Upload, shelf: &mut Shelf) -> Result<(), Status> {
    let mut posts = Vec::new();
    while let Some(Ok(message)) = upload.next().await {
        if let Some(Payload::PostMessage(post)) = message.payload {
            posts.push(post);
        }
    }
    shelf.store(posts);
    Ok(())
}
