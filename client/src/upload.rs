//! Client streaming: many posts, then a finish, then one answer for all of them.
//!
//! A server cannot tell an upload that was cancelled from one that has ended. So the finish says how many posts there
//! were, and an upload that cannot go on is reset rather than ended. After a cut nobody knows which posts arrived: all
//! are sent again, and their ids keep the server from storing any of them twice.

use std::{
    future, io,
    pin::{Pin, pin},
};

use async_stream::{stream, try_stream};
use futures::{Stream, StreamExt as _};
use quartet::post::v1::{
    PostMessage, UploadFinish, UploadPostsRequest, UploadPostsResponse,
    post_service_client::PostServiceClient, upload_posts_request::Payload,
};
use tokio::sync::{oneshot, watch};
use tonic::{CancellationHandle, Request};

use crate::{
    Channel, Error,
    resume::{Disconnected, Resume},
};

const PATH: &str = "/post.v1.PostService/UploadPosts";

/// What happens on an upload.
#[derive(Debug)]
pub enum UploadEvent {
    /// So many posts of this attempt were handed to the connection. Not every number is reported.
    Sent(u64),
    /// The upload was cut and will be sent again, from the first post.
    Disconnected(Disconnected),
    /// It is being sent again.
    Reconnected,
    /// The server's answer; the last event, after the final `Sent`.
    Done(UploadPostsResponse),
}

/// The posts of an upload, as [`upload_posts`] reads them.
pub type Posts = Pin<Box<dyn Stream<Item = io::Result<PostMessage>> + Send>>;

/// Sends what `open` returns, in its order, and calls it again for every attempt.
///
/// Every attempt must yield the same posts with the same ids. Posts are read as the connection takes them, so memory
/// does not grow with their number. Dropping the stream of events resets the call: what was stored stays, and sending
/// all of it again is safe.
///
/// # Errors
/// Those of the RPC that are not resumable, those that [`Resume`] gave up on, and [`Error::Source`] if the posts
/// cannot be read. Progress is to get further than any attempt before.
pub fn upload_posts(
    channel: Channel,
    mut open: impl FnMut() -> Posts + Send,
) -> impl Stream<Item = Result<UploadEvent, Error>> + Send {
    try_stream! {
        let mut resume = Resume::of(&channel, PATH);
        let client = PostServiceClient::new(channel);
        let mut furthest = 0;
        loop {
            let (sent, mut progress) = watch::channel(0);
            let (failed, mut failure) = oneshot::channel();
            let mut request = Request::new(());
            let reset = request.cancellation_handle();
            let request = request.map(|()| messages(open(), sent, Failing { failed, reset }));
            let mut client = client.clone();
            let mut call = pin!(client.upload_posts(request));
            let answer = loop {
                tokio::select! {
                    biased;
                    answer = &mut call => break answer,
                    Ok(()) = progress.changed() => {}
                }
                if resume.is_resumed() {
                    yield UploadEvent::Reconnected;
                }
                let posts = *progress.borrow_and_update();
                yield UploadEvent::Sent(posts);
            };
            let posts = *progress.borrow();
            if posts > furthest {
                furthest = posts;
                resume.progress();
            }
            let cut = match (answer, failure.try_recv()) {
                (Ok(response), _) => {
                    yield UploadEvent::Sent(posts);
                    yield UploadEvent::Done(response.into_inner());
                    return;
                }
                (Err(_), Ok(error)) => Error::Source(error),
                (Err(status), Err(_)) => Error::from(status),
            };
            let pause = resume.pause(cut)?;
            let delay = pause.delay;
            yield UploadEvent::Disconnected(pause);
            tokio::time::sleep(delay).await;
        }
    }
}

/// The way out for posts that cannot be read: a request stream can carry no error, and its end would look like the end
/// of the posts.
struct Failing {
    failed: oneshot::Sender<io::Error>,
    reset: CancellationHandle,
}

/// `post* finish`.
fn messages(
    mut posts: Posts,
    sent: watch::Sender<u64>,
    failing: Failing,
) -> impl Stream<Item = UploadPostsRequest> + Send {
    stream! {
        let mut count = 0;
        while let Some(post) = posts.next().await {
            match post {
                Ok(post) => yield message(Payload::PostMessage(post)),
                Err(error) => {
                    // If the call is over already, nobody asks why it would have failed.
                    let _ = failing.failed.send(error);
                    failing.reset.cancel();
                    return future::pending().await;
                }
            }
            count += 1;
            sent.send_replace(count);
        }
        yield message(Payload::Finish(UploadFinish { post_count: count.cast_signed() }));
    }
}

fn message(payload: Payload) -> UploadPostsRequest {
    UploadPostsRequest { payload: Some(payload) }
}
