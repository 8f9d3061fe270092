//! Client streaming: a cut upload is repeated, and an incomplete one never looks complete.

use std::{io, pin::pin, sync::Arc};

use futures::{
    StreamExt as _, TryStreamExt as _,
    future::join,
    stream::{self, iter},
};
use quartet::{
    page::UploadMessage,
    post::v1::{PostMessage, UploadPostsResponse},
};
use quartet_client::{Error, PostSource, UploadEvent, upload_posts};
use tokio::sync::Notify;
use tonic::Status;

use crate::fake::{Fake, post, within};

fn posts() -> PostSource {
    Box::pin(iter((1..=3).map(|number| Ok(post(number)))))
}

fn answer() -> UploadPostsResponse {
    UploadPostsResponse { created_count: 3, complete: true, ..Default::default() }
}

#[tokio::test]
async fn posts_go_out_in_order_and_the_finish_counts_them() {
    let mut server = Fake::start().await;
    let events = upload_posts(server.channel(), posts).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_upload().await;
        assert_eq!(call.posts(3).await, ["p1", "p2", "p3"]);
        assert_eq!(call.finish().await, 3);
        call.answer.send(Ok(answer())).unwrap();
    };
    let (events, ()) = within(join(events, script)).await;
    let events = events.unwrap();
    let [.., UploadEvent::Sent(3), UploadEvent::Done(done)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*done, answer());
}

#[tokio::test]
async fn after_a_cut_everything_is_sent_again_with_the_same_ids() {
    let mut server = Fake::start().await;
    // A fourth post that never comes keeps the first attempt open until it is cut.
    let mut attempts = 0;
    let open = move || -> PostSource {
        attempts += 1;
        if attempts == 1 { Box::pin(posts().chain(stream::pending())) } else { posts() }
    };
    let events = upload_posts(server.channel(), open).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_upload().await;
        assert_eq!(call.posts(3).await, ["p1", "p2", "p3"]);
        server.cut();
        let mut call = server.accept_upload().await;
        assert_eq!(call.posts(3).await, ["p1", "p2", "p3"]);
        assert_eq!(call.finish().await, 3);
        call.answer.send(Ok(answer())).unwrap();
    };
    let (events, ()) = within(join(events, script)).await;
    let events = events.unwrap();
    let cuts = events.iter().filter(|event| matches!(event, UploadEvent::Disconnected(_)));
    assert_eq!(cuts.count(), 1, "{events:?}");
    assert!(matches!(events.last(), Some(UploadEvent::Done(_))), "{events:?}");
}

#[tokio::test]
async fn posts_that_cannot_be_read_reset_the_call_and_never_finish_it() {
    let mut server = Fake::start().await;
    let seen = Arc::new(Notify::new());
    let broken = || -> PostSource {
        let seen = seen.clone();
        let error = stream::once(async move {
            seen.notified().await;
            Err(io::Error::other("the disk is gone"))
        });
        Box::pin(iter([Ok(post(1))]).chain(error).chain(stream::pending()))
    };
    let events = upload_posts(server.channel(), broken).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_upload().await;
        // tonic shows a reset as an end of the stream. Only the missing finish tells them apart.
        while let Ok(Some(message)) = within(call.requests.message()).await {
            assert!(matches!(message, UploadMessage::Post(_)), "{message:?}");
            seen.notify_one();
        }
    };
    let (events, ()) = within(join(events, script)).await;
    let error = events.unwrap_err();
    assert!(matches!(&error, Error::Source(_)), "{error:?}");
    assert_eq!(error.to_string(), "cannot read the posts: the disk is gone");
}

#[tokio::test]
async fn a_full_disk_is_final_and_reported_before_the_upload_ends() {
    let mut server = Fake::start().await;
    let endless = || -> PostSource { Box::pin(posts().chain(stream::pending())) };
    let events = upload_posts(server.channel(), endless).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_upload().await;
        call.posts(3).await;
        call.answer.send(Err(Status::resource_exhausted("the disk is full"))).unwrap();
    };
    let (events, ()) = within(join(events, script)).await;
    assert_eq!(events.unwrap_err().to_string(), "RESOURCE_EXHAUSTED: the disk is full");
}

#[tokio::test]
async fn an_attempt_that_gets_no_further_is_not_progress_so_the_pauses_grow() {
    let mut server = Fake::start().await;
    let mut events = pin!(upload_posts(server.channel(), posts));
    let script = async {
        loop {
            let mut call = server.accept_upload().await;
            call.posts(3).await;
            call.finish().await;
            call.answer.send(Err(Status::unavailable("again"))).unwrap();
        }
    };
    let delays = async {
        let mut delays = Vec::new();
        while delays.len() < 4 {
            if let Some(Ok(UploadEvent::Disconnected(cut))) = events.next().await {
                delays.push(cut.delay);
            }
        }
        delays
    };
    let delays = within(async {
        tokio::select! { delays = delays => delays, () = script => vec![] }
    });
    let delays = delays.await;
    assert!(delays[3] > delays[0] * 2, "{delays:?}");
}

#[tokio::test]
async fn an_upload_reads_its_posts_no_faster_than_the_connection_takes_them() {
    let mut server = Fake::start().await;
    let body = "x".repeat(60 * 1024);
    let large = move || -> PostSource {
        let body = body.clone();
        let post = move |number| Ok(PostMessage { body: body.clone(), ..post(number) });
        Box::pin(iter((1..=10_000).map(post)))
    };
    let mut events = pin!(upload_posts(server.channel(), large));
    // The server accepts the call and reads nothing.
    let (_, _call) = within(join(events.next(), server.accept_upload())).await;
    let mut sent = 0;
    while let Ok(event) =
        tokio::time::timeout(std::time::Duration::from_millis(500), events.next()).await
    {
        if let Some(Ok(UploadEvent::Sent(posts))) = event {
            sent = posts;
        }
    }
    assert!(sent < 200, "{sent} posts of 60 KiB were taken although the server reads none");
}
