//! A test: a post reaches a reader that follows the log.

use std::time::Duration;

use futures::FutureExt as _;
use quartet::post::v1::ListPostsRequest;
use quartet_lessons::{checks::waiting::Publish, stage::Client};
use tokio::time::sleep;

pub async fn a_post_reaches_its_reader(
    mut client: Client,
    publish: Publish<'_>,
) -> Result<(), String> {
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let list = client.list_posts(request).await.map_err(|status| status.to_string())?;
    let mut batches = list.into_inner();

    publish.await;
    sleep(Duration::from_millis(100)).await;

    // The first messages may be bookmarks, without posts.
    while let Some(Ok(Some(batch))) = batches.message().now_or_never() {
        if !batch.post_messages.is_empty() {
            return Ok(());
        }
    }
    Err("no post after 100 ms".to_owned())
}
