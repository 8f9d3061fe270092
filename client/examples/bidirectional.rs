//! The bidirectional RPC with the generated client alone: both sides send at any time.

#![allow(clippy::print_stdout, reason = "an example prints its messages")]

// ANCHOR: example
use std::{env, error::Error};

use quartet::post::v1::{
    JoinTags, PostMessage, PublishPost, TagFeedRequest, post_service_client::PostServiceClient,
    tag_feed_request::Payload,
};
use tokio_stream::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:9001".to_owned());
    let mut client = PostServiceClient::connect(endpoint).await?;

    let tags = vec!["coffee".to_owned()];
    let join = JoinTags { tags: tags.clone(), ..JoinTags::default() };
    let (post_id, user_id, title) = ("a-cup".to_owned(), "1".to_owned(), "A cup?".to_owned());
    let post = PostMessage { post_id, user_id, title, tags, ..PostMessage::default() };
    let publish = PublishPost { post_message: Some(post) };

    // The transport reads this stream while the loop below reads the responses. Its end half-closes
    // the call: the server sends what it still owes, then ends the call.
    let requests = tokio_stream::iter([Payload::Join(join), Payload::Publish(publish)]);
    let requests = requests.map(|payload| {
        println!("-> {payload:?}");
        TagFeedRequest { payload: Some(payload) }
    });
    let mut responses = client.tag_feed(requests).await?.into_inner();
    while let Some(response) = responses.message().await? {
        println!("<- {:?}", response.payload);
    }
    Ok(())
}
// ANCHOR_END: example
