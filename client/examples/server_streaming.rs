//! The server-streaming RPC with the generated client alone: one request, many responses.

#![allow(clippy::print_stdout, reason = "an example prints its messages")]

// ANCHOR: example
use std::{env, error::Error};

use quartet::post::v1::{ListPostsRequest, post_service_client::PostServiceClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:9001".to_owned());
    let mut client = PostServiceClient::connect(endpoint).await?;

    println!("-> all posts");
    let mut batches = client.list_posts(ListPostsRequest::default()).await?.into_inner();

    // None is the status OK; any other status is an error, also after messages.
    while let Some(batch) = batches.message().await? {
        for post in batch.post_messages {
            println!("<- {} {}: {}", post.sequence, post.author, post.title);
        }
    }
    Ok(())
}
// ANCHOR_END: example
