//! Uploads posts and returns the server's answer.

use quartet::post::v1::{
    PostMessage, UploadPostsRequest, UploadPostsResponse, upload_posts_request::Payload,
};
use quartet_lessons::stage::Client;
use tonic::Status;

pub async fn upload(
    mut client: Client,
    posts: Vec<PostMessage>,
) -> Result<UploadPostsResponse, Status> {
    let payloads = posts.into_iter().map(Payload::PostMessage);
    let messages = payloads.map(|payload| UploadPostsRequest { payload: Some(payload) });
    Ok(client.upload_posts(tokio_stream::iter(messages)).await?.into_inner())
}
