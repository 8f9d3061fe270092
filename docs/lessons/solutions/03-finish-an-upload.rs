//! Uploads posts and returns the server's answer.

use quartet::post::v1::{
    PostMessage, UploadFinish, UploadPostsRequest, UploadPostsResponse,
    upload_posts_request::Payload,
};
use quartet_lessons::stage::Client;
use tonic::Status;

pub async fn upload(
    mut client: Client,
    posts: Vec<PostMessage>,
) -> Result<UploadPostsResponse, Status> {
    // Only this says "that was all": the end of a stream alone may be a client that died.
    let finish = Payload::Finish(UploadFinish { post_count: posts.len() as i64 });
    let payloads = posts.into_iter().map(Payload::PostMessage).chain([finish]);
    let messages = payloads.map(|payload| UploadPostsRequest { payload: Some(payload) });
    Ok(client.upload_posts(tokio_stream::iter(messages)).await?.into_inner())
}
