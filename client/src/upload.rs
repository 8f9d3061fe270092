//! Client streaming: many posts, then a finish, then one response for all of them.
//!
//! A server cannot tell a cancelled upload from one that has ended. So the finish states the number
//! of posts, and an upload that cannot go on is reset rather than ended. After a cut, the client
//! does not know which posts arrived: it sends all of them again, and their ids keep the server
//! from storing a post twice.

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
use quartet_channel::Channel;
use tokio::sync::{oneshot, watch};
use tonic::{CancellationHandle, Request};

use crate::{
    error::Error,
    resume::{Disconnected, ResumableCall, ResumePolicy, Step, resumed},
};

const PATH: &str = quartet::methods::post_v1::UPLOAD_POSTS;

/// What happens on an upload.
#[derive(Debug)]
pub enum UploadEvent {
    /// The connection has taken this many posts of the present attempt. Not every number is
    /// reported.
    Sent(u64),
    /// The upload was cut and will be repeated from its first post.
    Disconnected(Disconnected),
    /// The upload is being repeated.
    Reconnected,
    /// The server's response; the last event, after the final `Sent`.
    Done(UploadPostsResponse),
}

/// The posts of an upload, as [`upload_posts`] reads them.
pub type PostSource = Pin<Box<dyn Stream<Item = io::Result<PostMessage>> + Send>>;

/// Sends the posts that `open` returns, in their order. Every attempt calls `open` again.
///
/// Each attempt must yield the same posts with the same ids. Posts are read as the connection takes
/// them, so memory does not grow with their number. Dropping the returned stream resets the call:
/// what was stored stays, and repeating the whole upload is safe.
///
/// # Errors
/// Those of the RPC that are not resumable, those after which the [`ResumePolicy`] gave up, and
/// [`Error::Source`] if the posts cannot be read. An attempt counts as progress if it sends more
/// posts than any before it.
pub fn upload_posts(
    channel: Channel,
    open: impl FnMut() -> PostSource + Send,
) -> impl Stream<Item = Result<UploadEvent, Error>> + Send {
    let policy = ResumePolicy::for_method(&channel, PATH);
    let client = PostServiceClient::new(channel);
    resumed(policy, Upload { client, open, most_sent: 0 })
}

/// An upload between two attempts.
struct Upload<F> {
    client: PostServiceClient<Channel>,
    open: F,
    /// The number of posts that the best attempt has sent.
    most_sent: u64,
}

impl<F: FnMut() -> PostSource + Send> ResumableCall<UploadEvent> for Upload<F> {
    fn attempt(&mut self) -> impl Stream<Item = Result<Step<UploadEvent>, Error>> + Send {
        try_stream! {
            let (requests, mut sending) = requests((self.open)());
            let mut call = pin!(self.client.upload_posts(requests));
            // A response may come before all posts were sent: the server has refused the rest.
            let response = loop {
                tokio::select! {
                    biased;
                    response = &mut call => break response,
                    Ok(()) = sending.sent.changed() => {}
                }
                let sent = *sending.sent.borrow_and_update();
                yield Step::UnderWay;
                yield Step::Event(UploadEvent::Sent(sent));
            };
            let sent = *sending.sent.borrow();
            if sent > self.most_sent {
                self.most_sent = sent;
                yield Step::Progress;
            }
            let response = response.map_err(|status| sending.cause(status))?;
            yield Step::Event(UploadEvent::Sent(sent));
            yield Step::Event(UploadEvent::Done(response.into_inner()));
        }
    }

    fn disconnected(pause: Disconnected) -> UploadEvent {
        UploadEvent::Disconnected(pause)
    }

    fn reconnected(&self) -> Option<UploadEvent> {
        Some(UploadEvent::Reconnected)
    }
}

/// The sending side of one attempt, seen from outside of its request stream.
struct Sending {
    /// The number of posts that the connection has taken.
    sent: watch::Receiver<u64>,
    /// Why the posts could not be read to their end.
    read_error: oneshot::Receiver<io::Error>,
}

impl Sending {
    /// Why the call failed: because of the posts, or with this status.
    fn cause(&mut self, status: tonic::Status) -> Error {
        match self.read_error.try_recv() {
            Ok(error) => Error::Source(error),
            Err(_) => Error::from(status),
        }
    }
}

/// The request stream of one attempt, `post* finish`.
///
/// A request stream cannot carry an error, and its end would look like the end of the posts. So a
/// read error resets the call, and `Sending` has the error.
fn requests(
    posts: PostSource,
) -> (Request<impl Stream<Item = UploadPostsRequest> + Send + 'static>, Sending) {
    let (report_sent, sent) = watch::channel(0);
    let (report_error, read_error) = oneshot::channel();
    let mut request = Request::new(());
    let reset = request.cancellation_handle();
    let messages = messages(posts, report_sent, report_error, reset);
    (request.map(|()| messages), Sending { sent, read_error })
}

fn messages(
    mut posts: PostSource,
    sent: watch::Sender<u64>,
    read_error: oneshot::Sender<io::Error>,
    reset: CancellationHandle,
) -> impl Stream<Item = UploadPostsRequest> + Send {
    stream! {
        let mut count = 0;
        while let Some(post) = posts.next().await {
            match post {
                Ok(post) => yield request(Payload::PostMessage(post)),
                Err(error) => {
                    // If the call has ended already, its own status is reported.
                    let _ = read_error.send(error);
                    reset.cancel();
                    return future::pending().await;
                }
            }
            count += 1;
            sent.send_replace(count);
        }
        yield request(Payload::Finish(UploadFinish { post_count: count.cast_signed() }));
    }
}

fn request(payload: Payload) -> UploadPostsRequest {
    UploadPostsRequest { payload: Some(payload) }
}
