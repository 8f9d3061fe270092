//! Clients that list, follow and page.

use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsRequest, ListPostsResponse, LogPosition,
    post_service_client::PostServiceClient,
};
use quartet_check::{history::What, record};
use quartet_client::{Channel, Error, ListEvent, list_posts};
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Response, Status};

use super::setting::{Setting, USERS, some_tags};

/// How long a reader waits for the end of a snapshot.
const PATIENCE: Duration = Duration::from_secs(20);

/// Follows the whole log through the client library, which resumes by itself.
pub(super) async fn follower(setting: Setting, name: &'static str) {
    let (client, mut rng) = (setting.recorder.client(name), setting.rng(name));
    let mut request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    loop {
        let mut call = client.open(record::list(&request));
        let mut events = pin!(list_posts((setting.connect)(), request.clone()));
        while let Some(event) = events.next().await {
            match event {
                Ok(ListEvent::Batch(batch)) => {
                    call.note(record::batch(&batch));
                    request.resume_after = batch.position;
                }
                Ok(ListEvent::Disconnected(cut)) => {
                    call.note(record::ended(Err(&cut.cause)));
                    call = client.open(record::list(&request));
                }
                Ok(ListEvent::Reconnected(_)) => {}
                Err(error) => call.note(record::ended(Err(&error))),
            }
            if rng.random_bool(0.02) && !setting.is_calm() {
                call.note(What::Paused);
                setting.pause(&mut rng, 4000).await;
                call.note(What::Unpaused);
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Follows a random filter by plain calls: hangs up at random and resumes from the last position.
pub(super) async fn plain_follower(setting: Setting, name: &'static str) {
    let (client, mut rng) = (setting.recorder.client(name), setting.rng(name));
    let channel = (setting.connect)();
    let mut request = ListPostsRequest {
        tags: some_tags(&mut rng),
        user_ids: some_users(&mut rng),
        follow: true,
        ..ListPostsRequest::default()
    };
    loop {
        let call = client.open(record::list(&request));
        let hang_up = Instant::now() + Duration::from_millis(rng.random_range(100..6000));
        let mut batches = pin!(batches(channel.clone(), request.clone()));
        let end = loop {
            let batch = if setting.is_calm() {
                batches.next().await
            } else {
                match timeout_at(hang_up, batches.next()).await {
                    Ok(batch) => batch,
                    Err(_) => break record::left(),
                }
            };
            match batch {
                Some(Ok(batch)) => {
                    call.note(record::batch(&batch));
                    request.resume_after = batch.position;
                }
                Some(Err(status)) => break record::ended(Err(&Error::from(status))),
                None => break record::ended(Err(&Error::Truncated)),
            }
            if rng.random_bool(0.05) && !setting.is_calm() {
                call.note(What::Paused);
                setting.pause(&mut rng, 3000).await;
                call.note(What::Unpaused);
            }
        };
        call.note(end);
        sleep(Duration::from_millis(rng.random_range(20..300))).await;
    }
}

/// Lists the log again and again: each list is a reader of its own, which must contain every
/// acknowledged post.
pub(super) async fn snapshots(setting: Setting, name: &'static str) {
    let (channel, mut rng) = ((setting.connect)(), setting.rng(name));
    for number in 0.. {
        let client = setting.recorder.client(format!("{name}-{number}"));
        // Only acknowledged sequences are positions.
        let acknowledged = setting.recorder.progress().acknowledged.min(50);
        let from = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..=acknowledged) };
        let from = LogPosition { sequence: from, ..LogPosition::default() };
        let request = ListPostsRequest { resume_after: Some(from), ..ListPostsRequest::default() };
        let call = client.open(record::list(&request));
        let deadline = Instant::now() + PATIENCE;
        let mut batches = pin!(batches(channel.clone(), request));
        let mut complete = false;
        loop {
            match timeout_at(deadline, batches.next()).await {
                Ok(Some(Ok(batch))) => {
                    complete = batch.snapshot_complete;
                    call.note(record::batch(&batch));
                }
                Ok(Some(Err(status))) => {
                    call.note(record::ended(Err(&Error::from(status))));
                    break;
                }
                Ok(None) => {
                    let end = if complete { Ok(()) } else { Err(&Error::Truncated) };
                    call.note(record::ended(end));
                    break;
                }
                Err(_) => {
                    call.note(record::left());
                    break;
                }
            }
        }
        setting.pause(&mut rng, 4000).await;
        sleep(Duration::from_millis(500)).await;
    }
}

/// Pages through the posts of one user after another.
pub(super) async fn pages(setting: Setting, name: &'static str) {
    let (channel, mut rng) = ((setting.connect)(), setting.rng(name));
    for number in 0.. {
        let client = setting.recorder.client(format!("{name}-{number}"));
        let user_id = USERS[rng.random_range(0..USERS.len())].0.to_owned();
        let mut request = ListPostsByUserIdRequest { user_id, ..Default::default() };
        let mut service = PostServiceClient::new(channel.clone());
        loop {
            let call = client.open(record::page(&request));
            let asked = service.list_posts_by_user_id(request.clone());
            let page = match timeout_at(Instant::now() + PATIENCE, asked).await {
                Ok(Ok(page)) => page.into_inner(),
                Ok(Err(status)) => {
                    call.note(record::ended(Err(&Error::from(status))));
                    break;
                }
                Err(_) => {
                    call.note(record::left());
                    break;
                }
            };
            call.note(record::page_answer(&page));
            call.note(record::ended(Ok(())));
            if !page.truncated {
                break;
            }
            request.resume_after = page.position;
        }
        setting.pause(&mut rng, 4000).await;
        sleep(Duration::from_millis(500)).await;
    }
}

/// Resumes with a position of another log, which must be refused.
pub(super) async fn stranger(setting: Setting, name: &'static str) {
    let elsewhere = |rng: &mut StdRng| {
        let sequence = rng.random_range(0..5);
        LogPosition { log_id: "f".repeat(32), sequence, chain: 0 }
    };
    resumers(setting, name, elsewhere).await;
}

/// Resumes with positions of before the log was restored. Those of posts that are gone must be
/// refused, though the log has other posts there by now.
pub(super) async fn returning(setting: Setting, name: &'static str) {
    let before = setting.before.clone();
    if !before.is_empty() {
        resumers(setting, name, |rng| before[rng.random_range(0..before.len())].clone()).await;
    }
}

/// One reader after another, which resumes with such a position and reads one message.
async fn resumers(
    setting: Setting,
    name: &'static str,
    position: impl Fn(&mut StdRng) -> LogPosition,
) {
    let (channel, mut rng) = ((setting.connect)(), setting.rng(name));
    for number in 0.. {
        let client = setting.recorder.client(format!("{name}-{number}"));
        let resume_after = Some(position(&mut rng));
        let request = ListPostsRequest { resume_after, ..ListPostsRequest::default() };
        let call = client.open(record::list(&request));
        let mut batches = pin!(batches(channel.clone(), request));
        let deadline = Instant::now() + PATIENCE;
        call.note(match timeout_at(deadline, batches.next()).await {
            Ok(Some(Ok(batch))) => record::batch(&batch),
            Ok(Some(Err(status))) => record::ended(Err(&Error::from(status))),
            Ok(None) => record::ended(Ok(())),
            Err(_) => record::left(),
        });
        setting.pause(&mut rng, 6000).await;
        sleep(Duration::from_secs(1)).await;
    }
}

fn some_users(rng: &mut StdRng) -> Vec<String> {
    let user = USERS[rng.random_range(0..USERS.len())].0.to_owned();
    if rng.random_bool(0.3) { vec![user] } else { Vec::new() }
}

/// The messages of one call as one stream.
fn batches(
    channel: Channel,
    request: ListPostsRequest,
) -> impl Stream<Item = Result<ListPostsResponse, Status>> {
    let mut service = PostServiceClient::new(channel);
    stream::once(async move { service.list_posts(request).await.map(Response::into_inner) })
        .try_flatten()
}
