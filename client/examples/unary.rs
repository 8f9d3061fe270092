//! The unary RPC with the generated client alone: one request, one response.

#![allow(clippy::print_stdout, reason = "an example prints its messages")]

// ANCHOR: example
use std::{env, error::Error};

use quartet::post::v1::{ListPostsByUserIdRequest, post_service_client::PostServiceClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:9001".to_owned());
    let mut client = PostServiceClient::connect(endpoint).await?;

    let request = ListPostsByUserIdRequest { user_id: "1".to_owned(), resume_after: None };
    println!("-> posts of user {}", request.user_id);
    let response = client.list_posts_by_user_id(request).await?.into_inner();

    for post in response.post_messages {
        println!("<- {} {}: {}", post.sequence, post.author, post.title);
    }
    Ok(())
}
// ANCHOR_END: example
