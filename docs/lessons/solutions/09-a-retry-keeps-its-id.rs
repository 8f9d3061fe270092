//! Publishes a post, and tries again when the server is unavailable.

use quartet::post::v1::{
    PostMessage, UploadFinish, UploadPostsRequest, upload_posts_request::Payload,
};
use quartet_lessons::{checks::retry::Ids, stage::Client};
use tonic::{Code, Status};

pub async fn publish(mut client: Client, draft: PostMessage, ids: &mut Ids) -> Result<(), Status> {
    // One id for all attempts: the server stores a `post_id` at most once.
    let post = PostMessage { post_id: ids.next_id(), ..draft };
    loop {
        match upload(&mut client, post.clone()).await {
            Err(status) if status.code() == Code::Unavailable => {}
            end => return end,
        }
    }
}

async fn upload(client: &mut Client, post: PostMessage) -> Result<(), Status> {
    let finish = Payload::Finish(UploadFinish { post_count: 1 });
    let payloads = [Payload::PostMessage(post), finish];
    let messages = payloads.map(|payload| UploadPostsRequest { payload: Some(payload) });
    client.upload_posts(tokio_stream::iter(messages)).await?;
    Ok(())
}
