//! What works behind a proxy while the server runs.

use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

use async_stream::stream;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future, stream::iter};
use quartet::{
    limits::HEARTBEAT,
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, PostMessage, UploadPostsResponse,
        post_service_client::PostServiceClient,
    },
};
use quartet_client::{
    Channel, Error, FeedEvent, FeedRequest, FeedStart, ListEvent, PostSource, UploadEvent,
    list_posts, tag_feed, upload_posts,
};
use tokio::time::{sleep, timeout};
use tonic_types::StatusExt as _;

use super::{
    case::{Case, Verdict, ensure, words},
    site::Site,
};

const FOUR_KINDS: Case = Case::new("the four kinds", |site| four_kinds(site).boxed_local());

pub(super) const ALL: [Case; 8] = [
    FOUR_KINDS,
    FOUR_KINDS.encrypted("the four kinds over TLS"),
    Case::new("upload of 25 MB", |site| large_upload(site).boxed_local()),
    Case::new("75 s, silent clients", |site| silent_clients(site).boxed_local()),
    Case::new("75 s, a paused upload", |site| paused_upload(site).boxed_local()),
    Case::new("deadline", |site| deadline(site).boxed_local()),
    Case::new("cancel", |site| cancel(site).boxed_local()),
    Case::new("details of an error", |site| details(site).boxed_local()),
];

/// Longer than the limit of 60 s that many proxies have.
const SILENCE: Duration = Duration::from_secs(75);
/// How long the server may take to learn of a cancelled call: a proxy may tell it only when it
/// sends something.
const NOTICED: Duration = Duration::from_secs(HEARTBEAT.as_secs() + 5);

async fn four_kinds(site: Site) -> Verdict {
    let summary = upload(site.channel(), posts("post", 8_000, 300)).await.map_err(words)?;
    ensure(summary.created_count == 8_000, || format!("{summary:?}"))?;

    let user_id = "1".to_owned();
    let request = ListPostsByUserIdRequest { user_id, resume_after: None };
    let page = PostServiceClient::new(site.channel()).list_posts_by_user_id(request).await;
    let page = page.map_err(words)?.into_inner().post_messages.len();
    ensure(page == 1_000, || format!("a page of {page} posts"))?;

    let listed = read(list_posts(site.channel(), ListPostsRequest::default()), 8_000).await?;
    ensure(listed == 8_000, || format!("{listed} posts listed"))?;

    let received = talk(site.channel(), 200).await?;
    ensure(received == 200, || format!("{received} posts in the feed"))?;
    Ok("1 page, 8,000 posts up and down, 200 posts and receipts in a feed".to_owned())
}

async fn large_upload(site: Site) -> Verdict {
    let begun = Instant::now();
    let summary = upload(site.channel(), posts("large", 5_000, 5_000)).await.map_err(words)?;
    ensure(summary.created_count == 5_000, || format!("{summary:?}"))?;
    Ok(format!("{:.1?}", begun.elapsed()))
}

/// A list and a feed to which nothing happens: neither is cut.
async fn silent_clients(site: Site) -> Verdict {
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let list = list_posts(site.channel(), request).map(|event| match event {
        Ok(ListEvent::Disconnected(cut)) => Err(cut.cause),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    });
    let join = FeedRequest::Join { tags: vec!["tokio".into()], all_tags: false };
    let requests = iter([join]).chain(futures::stream::pending());
    let feed = tag_feed(site.channel(), FeedStart::Now, requests).map(|event| match event {
        Ok(FeedEvent::Disconnected(cut)) => Err(cut.cause),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    });
    let (list, feed) = future::join(listen(list), listen(feed)).await;
    let (list, feed) =
        (list.map_err(|e| format!("list: {e}"))?, feed.map_err(|e| format!("feed: {e}"))?);
    ensure(list >= 5 && feed >= 6, || format!("only {list} and {feed} messages"))?;
    Ok(format!("no cut; {list} and {feed} messages"))
}

/// Listens for [`SILENCE`]. Returns the number of events.
async fn listen(events: impl Stream<Item = Result<(), Error>>) -> Result<usize, String> {
    let (mut events, mut count) = (pin!(events), 0);
    let listening = async {
        while let Some(event) = events.next().await {
            event?;
            count += 1;
        }
        Ok(())
    };
    match timeout(SILENCE, listening).await {
        Ok(Ok(())) => Err("it ended".to_owned()),
        Ok(Err::<(), Error>(error)) => Err(error.to_string()),
        Err(_) => Ok(count),
    }
}

/// An upload whose posts pause: it is not cut.
async fn paused_upload(site: Site) -> Verdict {
    let source = || -> PostSource {
        Box::pin(stream! {
            for (number, post) in posts("paused", 20, 100).enumerate() {
                if number == 10 {
                    sleep(SILENCE).await;
                }
                yield Ok(post);
            }
        })
    };
    let (mut events, mut cuts) = (pin!(upload_posts(site.channel(), source)), 0);
    while let Some(event) = events.try_next().await.map_err(words)? {
        match event {
            UploadEvent::Disconnected(cut) => return Err(cut.cause.to_string()),
            UploadEvent::Reconnected => cuts += 1,
            UploadEvent::Done(summary) if summary.created_count == 20 => {
                return Ok(format!("{cuts} cuts"));
            }
            UploadEvent::Done(summary) => return Err(format!("{summary:?}")),
            UploadEvent::Sent(_) => {}
        }
    }
    Err("no summary".to_owned())
}

/// A deadline ends a call at both ends.
async fn deadline(site: Site) -> Verdict {
    let (begun, two_seconds) = (Instant::now(), Duration::from_secs(2));
    let channel = site.channel().with_deadline((begun + two_seconds).into());
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let mut events = pin!(list_posts(channel, request));
    let error = loop {
        match events.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => return Err("the list ended".to_owned()),
        }
    };
    ensure(error.is_deadline_exceeded(), || error.to_string())?;
    ensure(begun.elapsed() < two_seconds * 2, || format!("after {:?}", begun.elapsed()))?;
    let gone = until_no_stream(&site, Duration::from_secs(2)).await?;
    Ok(format!("the server let go {gone:.1?} later"))
}

/// A call that is dropped ends at the server.
async fn cancel(site: Site) -> Verdict {
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let mut events = Box::pin(list_posts(site.channel(), request));
    events.try_next().await.map_err(words)?;
    let open = site.open_streams().await.map_err(words)?;
    ensure(open == 1, || format!("{open} streams at the server"))?;
    drop(events);
    let gone = until_no_stream(&site, NOTICED).await?;
    Ok(format!("the server let go {gone:.1?} later"))
}

/// Waits until no stream is open at the server. Returns how long that took.
async fn until_no_stream(site: &Site, most: Duration) -> Result<Duration, String> {
    let begun = Instant::now();
    while site.open_streams().await.map_err(words)? > 0 {
        ensure(begun.elapsed() < most, || format!("the server still works after {most:?}"))?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

/// The largest status of this service arrives whole.
async fn details(site: Site) -> Verdict {
    let tags = (0..64).map(|number| format!("{number:x<70}")).collect();
    let request = ListPostsRequest { tags, ..ListPostsRequest::default() };
    let refused = PostServiceClient::new(site.channel()).list_posts(request).await;
    let Err(status) = refused else { return Err("it was accepted".to_owned()) };
    let bytes = status.details().len() + status.message().len();
    let bad = status.get_details_bad_request().map_or(0, |bad| bad.field_violations.len());
    ensure(bad > 0, || format!("{status}"))?;
    Ok(format!("{bad} violations in {bytes} bytes"))
}

/// Posts of user 1 with the tag `tokio`.
pub(super) fn posts(
    name: &'static str,
    count: usize,
    bytes: usize,
) -> impl Iterator<Item = PostMessage> + Send {
    (0..count).map(move |number| PostMessage {
        post_id: format!("{name}-{number}"),
        title: format!("Post {number}"),
        body: "x".repeat(bytes),
        tags: vec!["tokio".to_owned()],
        user_id: "1".to_owned(),
        ..PostMessage::default()
    })
}

/// Uploads without a second attempt.
async fn upload(
    channel: Channel,
    posts: impl Iterator<Item = PostMessage> + Send + 'static,
) -> Result<UploadPostsResponse, Error> {
    let mut posts = Some(posts);
    let source = move || -> PostSource {
        match posts.take() {
            Some(posts) => Box::pin(iter(posts.map(Ok))),
            None => Box::pin(iter([Err(io::Error::other("it was cut"))])),
        }
    };
    let mut events = pin!(upload_posts(channel, source));
    while let Some(event) = events.try_next().await? {
        if let UploadEvent::Done(summary) = event {
            return Ok(summary);
        }
    }
    Err(Error::Truncated)
}

/// Reads a list up to a number of posts. Returns the number, without a cut.
async fn read(
    events: impl Stream<Item = Result<ListEvent, Error>>,
    most: usize,
) -> Result<usize, String> {
    let (mut events, mut count) = (pin!(events), 0);
    while count < most {
        match events.try_next().await.map_err(words)? {
            Some(ListEvent::Batch(batch)) => count += batch.post_messages.len(),
            Some(event) => return Err(format!("{event:?}")),
            None => break,
        }
    }
    Ok(count)
}

/// Publishes posts one after another in a feed, each after the receipt of the one before, then
/// half-closes. Returns the number of posts received.
async fn talk(channel: Channel, count: usize) -> Result<usize, String> {
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    let join = FeedRequest::Join { tags: vec!["tokio".into()], all_tags: false };
    sender.try_send(join).map_err(words)?;
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut events = pin!(tag_feed(channel, FeedStart::Now, requests));
    let (mut sender, mut to_publish, mut received) = (Some(sender), posts("feed", count, 300), 0);
    while let Some(event) = events.try_next().await.map_err(words)? {
        match event {
            FeedEvent::Joined(_) | FeedEvent::Receipt(_) => match (to_publish.next(), &sender) {
                (Some(post), Some(sender)) => {
                    sender.try_send(FeedRequest::Publish(post)).map_err(words)?;
                }
                _ => sender = None,
            },
            FeedEvent::Posts(batch) => received += batch.post_messages.len(),
            FeedEvent::Disconnected(cut) => return Err(cut.cause.to_string()),
            _ => {}
        }
    }
    Ok(received)
}
