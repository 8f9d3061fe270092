//! Clients that upload.

use std::{sync::Arc, time::Duration};

use async_stream::stream;
use futures::{Stream, StreamExt as _, future};
use parking_lot::Mutex;
use quartet::post::v1::{
    PostMessage, UploadFinish, UploadPostsRequest, post_service_client::PostServiceClient,
    upload_posts_request::Payload,
};
use quartet_check::{history::What, record};
use quartet_client::{Channel, Error, UploadEvent, upload_posts};
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use super::{posts::post, setting::Setting};
use crate::recorder::{Call, Client};

/// Uploads one file after another; some are broken off, or end without a finish, and are then sent
/// as a whole.
pub(super) async fn uploader(setting: Setting, name: &'static str) {
    let (client, mut rng) = (setting.recorder.client(name), setting.rng(name));
    let channel = (setting.connect)();
    let mut sent = 0;
    while !setting.is_calm() {
        let count = rng.random_range(1..30);
        let posts: Vec<_> = (sent..sent + count).map(|n| post(name, n, &mut rng)).collect();
        sent += count;
        match rng.random_range(0..4) {
            0 => break_off(&channel, &client, &posts, &mut rng).await,
            1 => end_early(&channel, &client, &posts, &mut rng).await,
            _ => {}
        }
        upload(&setting, &channel, &client, &posts, &mut rng).await;
        setting.pause(&mut rng, 3000).await;
    }
}

/// Sends the same ids again and again, most with the same content, some with other content, some
/// for an unknown user.
pub(super) async fn rival(setting: Setting, name: &'static str) {
    let (client, mut rng) = (setting.recorder.client(name), setting.rng(name));
    let channel = (setting.connect)();
    let mut first = 0;
    while !setting.is_calm() {
        let posts: Vec<_> = (first..first + 10)
            .map(|n| {
                let contents = ["one", "another"][usize::from(rng.random_bool(0.1))];
                PostMessage {
                    post_id: format!("shared-{n}"),
                    title: contents.to_owned(),
                    user_id: if n % 7 == 6 { "nobody" } else { "1" }.to_owned(),
                    ..PostMessage::default()
                }
            })
            .collect();
        first += rng.random_range(0..10);
        upload(&setting, &channel, &client, &posts, &mut rng).await;
        setting.pause(&mut rng, 3000).await;
    }
}

/// Uploads through the client library until the server has answered.
async fn upload(
    setting: &Setting,
    channel: &Channel,
    client: &Client,
    posts: &[PostMessage],
    rng: &mut StdRng,
) {
    let posts: Arc<[PostMessage]> = posts.into();
    let gap = Duration::from_millis(rng.random_range(0..40));
    loop {
        let current: Arc<Mutex<Option<Call>>> = Arc::default();
        let open = {
            let (client, posts, current) = (client.clone(), posts.clone(), current.clone());
            move || -> quartet_client::Posts {
                let call = client.open(record::upload());
                *current.lock() = Some(call.clone());
                Box::pin(recorded(call, posts.clone(), gap).map(Ok))
            }
        };
        let mut events = Box::pin(upload_posts(channel.clone(), open));
        let note = |what| {
            if let Some(call) = &*current.lock() {
                call.note(what);
            }
        };
        while let Some(event) = events.next().await {
            match event {
                Ok(UploadEvent::Disconnected(cut)) => note(record::ended(Err(&cut.cause))),
                Ok(UploadEvent::Done(answer)) => {
                    note(record::uploaded(&answer));
                    note(record::ended(Ok(())));
                    return;
                }
                Ok(UploadEvent::Sent(_) | UploadEvent::Reconnected) => {}
                Err(error) => note(record::ended(Err(&error))),
            }
        }
        setting.pause(rng, 1000).await;
        sleep(Duration::from_millis(100)).await;
    }
}

/// The posts of an attempt, written down as the connection takes them.
fn recorded(
    call: Call,
    posts: Arc<[PostMessage]>,
    gap: Duration,
) -> impl Stream<Item = PostMessage> + Send {
    stream! {
        for (index, post) in posts.iter().enumerate() {
            if index % 16 == 15 {
                sleep(gap).await;
            }
            call.note(record::sent(post));
            yield post.clone();
        }
        call.note(What::Finished { post_count: posts.len() as u64 });
    }
}

/// Sends a part and resets the call: the server must not take it for the whole.
async fn break_off(channel: &Channel, client: &Client, posts: &[PostMessage], rng: &mut StdRng) {
    let part = &posts[..rng.random_range(0..=posts.len())];
    let patience = Duration::from_millis(rng.random_range(0..400));
    send(channel, client, part, Then::Wait, patience).await;
}

/// Ends without a finish, or with a finish that counts wrong.
async fn end_early(channel: &Channel, client: &Client, posts: &[PostMessage], rng: &mut StdRng) {
    let part = &posts[..posts.len() / 2];
    let wrong = Then::Finish { post_count: posts.len() as i64 };
    let then = if rng.random_bool(0.5) { wrong } else { Then::End };
    send(channel, client, part, then, Duration::from_secs(20)).await;
}

/// What follows the posts of an upload.
enum Then {
    /// Nothing: the call stays open.
    Wait,
    /// The end of the stream.
    End,
    /// A finish that says this, and the end.
    Finish { post_count: i64 },
}

/// Uploads by a plain call, for so long.
async fn send(
    channel: &Channel,
    client: &Client,
    posts: &[PostMessage],
    then: Then,
    patience: Duration,
) {
    let call = client.open(record::upload());
    let requests = requests(call.clone(), posts.to_vec(), then);
    let mut service = PostServiceClient::new(channel.clone());
    match timeout(patience, service.upload_posts(requests)).await {
        Err(_) => call.note(record::left()),
        Ok(Ok(answer)) => {
            call.note(record::uploaded(answer.get_ref()));
            call.note(record::ended(Ok(())));
        }
        Ok(Err(status)) => call.note(record::ended(Err(&Error::from(status)))),
    }
}

fn requests(
    call: Call,
    posts: Vec<PostMessage>,
    then: Then,
) -> impl Stream<Item = UploadPostsRequest> {
    stream! {
        for post in posts {
            call.note(record::sent(&post));
            yield UploadPostsRequest { payload: Some(Payload::PostMessage(post)) };
        }
        match then {
            Then::Wait => future::pending().await,
            Then::End => {}
            Then::Finish { post_count } => {
                call.note(What::Finished { post_count: post_count.cast_unsigned() });
                let finish = Payload::Finish(UploadFinish { post_count });
                yield UploadPostsRequest { payload: Some(finish) };
            }
        }
    }
}
