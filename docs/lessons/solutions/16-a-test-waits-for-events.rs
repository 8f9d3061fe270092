//! A test: a post reaches a reader that follows the log.

use std::time::Duration;

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::{checks::waiting::Publish, stage::Client};
use tokio::time::timeout;

pub async fn a_post_reaches_its_reader(
    mut client: Client,
    publish: Publish<'_>,
) -> Result<(), String> {
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let list = client.list_posts(request).await.map_err(|status| status.to_string())?;
    let mut batches = list.into_inner();

    publish.await;

    // The first messages may be bookmarks, without posts.
    let post = async {
        while let Ok(Some(batch)) = batches.message().await {
            if !batch.post_messages.is_empty() {
                return Ok(());
            }
        }
        Err("the stream ended".to_owned())
    };
    // Generous: only a test that fails waits for so long.
    let late = |_| Err("no post after 20 s".to_owned());
    timeout(Duration::from_secs(20), post).await.unwrap_or_else(late)
}
