//! A log that was restored from a backup and written to since: readers that kept a position which
//! the copy never had are told, whatever they read.

use std::{fs, future::ready, path::Path, pin::pin};

use futures::{StreamExt as _, stream};
use quartet::{
    post::v1::{ListPostsRequest, LogPosition, tag_feed_response::Payload},
    reason,
};
use quartet_client::{Error, FeedEvent, FeedRequest, FeedStart, list_posts, tag_feed};
use tonic::{Code, Status};

use crate::support::{
    Client, Feed, TestServer, after, all, assert_refused, page, posts, server::on_disk, soon,
    upload,
};

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The outcome of starting after a position: a list and a feed of the client library, and a page.
async fn starts(server: &TestServer, start: LogPosition) -> [Result<(), Status>; 3] {
    let request =
        ListPostsRequest { resume_after: Some(start.clone()), ..ListPostsRequest::default() };
    let mut list = pin!(list_posts(server.channel(), request));
    let listed = match soon(list.next()).await {
        Some(Err(Error::Call(error))) => Err(error.status().clone()),
        Some(Err(error)) => panic!("no status: {error}"),
        _ => Ok(()),
    };
    let paged = page(&mut server.posts(), "1", Some(start.clone())).await.map(drop);
    let join = FeedRequest::Join { tags: vec!["a".to_owned()], all_tags: false };
    let requests = stream::iter([join]).chain(stream::pending());
    let feed = tag_feed(server.channel(), FeedStart::After(start), requests);
    let mut feed = pin!(feed.filter(|event| ready(!matches!(event, Ok(FeedEvent::Sent(_))))));
    let followed = match soon(feed.next()).await {
        Some(Err(Error::Call(error))) => Err(error.status().clone()),
        Some(Err(error)) => panic!("no status: {error}"),
        _ => Ok(()),
    };
    [listed, paged, followed]
}

/// The story of the issue: a copy at 10 posts, 5 more, a reader at 15, the copy restored, 8 new
/// posts. The reader must not get 16 to 18 and miss the new 11 to 15.
#[tokio::test]
async fn after_a_restore_a_position_that_the_backup_never_had_is_refused() {
    let (data, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = TestServer::with(on_disk(data.path())).await;
    let old = upload(&mut server.posts(), posts("p", 10, &["a"])).await.unwrap();
    server.stop().await;
    copy(data.path(), backup.path());

    let server = TestServer::with(on_disk(data.path())).await;
    let lost = upload(&mut server.posts(), posts("lost", 5, &["a"])).await.unwrap();
    server.stop().await;

    let server = TestServer::with(on_disk(backup.path())).await;
    let new = upload(&mut server.posts(), posts("new", 8, &["a"])).await.unwrap();
    let [old, lost, new] = [old, lost, new].map(|summary| summary.position.unwrap());
    assert_eq!([old.sequence, lost.sequence, new.sequence], [10, 15, 18]);
    assert_eq!(old.log_id, lost.log_id, "no id tells");
    for outcome in starts(&server, lost.clone()).await {
        let status = assert_refused(outcome, Code::OutOfRange, reason::LOG_RESET);
        assert!(status.message().contains("restored from a backup"), "{status}");
    }
    for start in [old, new, LogPosition { chain: 0, ..lost }] {
        for outcome in starts(&server, start).await {
            outcome.unwrap();
        }
    }
    server.stop().await;
}

async fn listed_position(client: &mut Client, tags: &[&str], from: i64) -> Vec<LogPosition> {
    let tags = tags.iter().map(ToString::to_string).collect();
    let request =
        ListPostsRequest { resume_after: after(from), tags, ..ListPostsRequest::default() };
    let batches = all(soon(client.list_posts(request)).await.unwrap().into_inner()).await.unwrap();
    batches.into_iter().map(|batch| batch.position.unwrap()).collect()
}

/// Whoever tells a position, and whether or not the post there matched its filter.
#[tokio::test]
async fn all_calls_tell_the_same_chain_value_at_the_same_sequence() {
    let server = TestServer::on_disk().await;
    let mut client = server.posts();
    let mut told = vec![upload(&mut client, posts("p", 20, &["a"])).await.unwrap().position];
    told.push(page(&mut client, "1", None).await.unwrap().position);
    told.push(page(&mut client, "2", None).await.unwrap().position);
    for (tags, from) in [(&[][..], 0), (&[], 20), (&["b"], 0), (&["a"], 7)] {
        told.extend(listed_position(&mut client, tags, from).await.into_iter().map(Some));
    }
    let mut feed = Feed::open(&mut client).await;
    feed.join(&["b"]).await;
    told.push(feed.joined().await.position);
    told.push(feed.bookmark().await.position);
    feed.leave(&["b"]).await;
    let Payload::Left(left) = feed.event().await else { panic!("expected Left") };
    told.push(left.position);
    feed.half_close();
    let first = told[0].clone().unwrap();
    assert!(first.sequence == 20 && first.chain != 0);
    assert!(told.iter().all(|position| position.as_ref() == Some(&first)), "{told:?}");
    server.stop().await;
}
