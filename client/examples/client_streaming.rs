//! The client-streaming RPC with the generated client alone: many requests, one response.

#![allow(clippy::print_stdout, reason = "an example prints its messages")]

// ANCHOR: example
use std::{env, error::Error};

use quartet::post::v1::{
    PostMessage, UploadFinish, UploadPostsRequest, post_service_client::PostServiceClient,
    upload_posts_request::Payload,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:9001".to_owned());
    let mut client = PostServiceClient::connect(endpoint).await?;

    let requests = async_stream::stream! {
        for title in ["Hello", "Hello again"] {
            println!("-> {title}");
            // The id makes an upload repeatable: the server stores it once.
            let post_id = title.replace(' ', "-");
            let (user_id, title) = ("1".to_owned(), title.to_owned());
            let post = PostMessage { post_id, user_id, title, ..PostMessage::default() };
            yield UploadPostsRequest { payload: Some(Payload::PostMessage(post)) };
        }
        // To the server, a cancelled stream looks like one that has ended: only this tells.
        let finish = UploadFinish { post_count: 2 };
        yield UploadPostsRequest { payload: Some(Payload::Finish(finish)) };
    };
    let response = client.upload_posts(requests).await?.into_inner();
    println!("<- created: {}, duplicates: {}", response.created_count, response.duplicate_count);
    Ok(())
}
// ANCHOR_END: example
