//! Bidirectional streaming: requests go out and messages come in on one call, each at any time.
//!
//! Both directions are streams here too: [`tag_feed`] takes a stream of requests and returns a
//! stream of events. Read this file from top to bottom: a [`Feed`] makes one call after another,
//! and on each it waits for three things at once. The files beside it:
//!
//! - `event.rs`: the requests and the events.
//! - `session.rs`: what a feed remembers from call to call. That is its position, the tags in force
//!   at that position, and the requests without an answer. After a cut, the next call joins these
//!   tags at this position and repeats these requests. A post is stored once however often it is
//!   sent, because it has an id.
//! - `unanswered.rs`: the requests without an answer.

use std::pin::Pin;

use async_stream::try_stream;
use futures::{Stream, StreamExt as _};
use quartet::post::v1::{TagFeedRequest, TagFeedResponse, post_service_client::PostServiceClient};
use quartet_channel::Channel;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub use self::event::{FeedEvent, FeedRequest, FeedStart};
use self::session::Session;
use crate::{
    error::Error,
    response::{Received, Response},
    resume::{Disconnected, ResumableCall, ResumePolicy, Step, resumed},
};

mod event;
mod session;
mod unanswered;

const PATH: &str = quartet::methods::post_v1::TAG_FEED;

/// A feed that sends `requests` and resumes after a cut.
///
/// The end of `requests` half-closes the call: the feed yields the answers that are still due and
/// everything up to the newest post, then ends. Dropping the feed ends the call at once, in both
/// directions. A request is taken only while fewer than 64 have no answer, and messages are
/// received only as the feed is polled, so neither direction fills memory. For a program that
/// decides as it goes, `requests` is the receiving end of a bounded channel.
///
/// # Errors
/// Those of the RPC that are not resumable, those after which the [`ResumePolicy`] gave up, and
/// [`Error::Protocol`]. It is then unknown whether a post without a receipt was stored; publishing
/// it again with the same id is safe.
pub fn tag_feed(
    channel: Channel,
    start: FeedStart,
    requests: impl Stream<Item = FeedRequest> + Send,
) -> impl Stream<Item = Result<FeedEvent, Error>> + Send {
    let policy = ResumePolicy::for_method(&channel, PATH);
    let client = PostServiceClient::new(channel);
    resumed(policy, Feed { client, requests: Box::pin(requests), session: Session::new(start) })
}

/// A feed over all its calls.
struct Feed<R> {
    client: PostServiceClient<Channel>,
    /// The requests of the caller.
    requests: Pin<Box<R>>,
    session: Session,
}

/// What a feed waits for.
enum Wakeup<'a> {
    /// The connection takes another request.
    RoomToSend(mpsc::Permit<'a, TagFeedRequest>),
    /// The caller made a request, or will make no more.
    Request(Option<FeedRequest>),
    /// The next part of the response has arrived, or the call has failed.
    Response(Result<Received<TagFeedResponse>, Status>),
}

impl<R: Stream<Item = FeedRequest> + Send> ResumableCall<FeedEvent> for Feed<R> {
    /// Makes one call. In each round it waits for the first of three events, as a `select` in Go
    /// does; a branch whose `if` is false is left out.
    fn attempt(&mut self) -> impl Stream<Item = Result<Step<FeedEvent>, Error>> + Send {
        let Self { client, requests, session } = self;
        try_stream! {
            session.begin_call();
            let (mut outgoing, body) = RequestSender::new();
            let mut client = client.clone();
            let call = async move { Ok(client.tag_feed(body).await?.into_inner()) };
            // The call is made while the loop runs: a server may hold back the head of its response
            // until it has read a request.
            let mut response = Response::to(call);
            loop {
                if session.is_all_sent() {
                    outgoing.half_close();
                }
                let wakeup = tokio::select! {
                    // Sending first: it stops when 64 requests have no answer, whereas posts may
                    // arrive without end.
                    biased;
                    Some(room) = outgoing.room(), if session.has_unsent() => {
                        Wakeup::RoomToSend(room)
                    }
                    request = requests.next(), if session.accepts_requests() => {
                        Wakeup::Request(request)
                    }
                    received = response.next() => Wakeup::Response(received),
                };
                match wakeup {
                    Wakeup::RoomToSend(room) => {
                        if let Some(request) = session.send_next(room) {
                            yield Step::Event(FeedEvent::Sent(request));
                        }
                    }
                    Wakeup::Request(request) => session.accept(request),
                    Wakeup::Response(received) => match received? {
                        Received::Head => yield Step::ResponseBegan,
                        Received::Message(message) => {
                            yield Step::Progress;
                            if let Some(event) = session.receive(message)? {
                                yield Step::Event(event);
                            }
                        }
                        Received::End if session.is_complete() => return,
                        Received::End => Err(Error::Truncated)?,
                    },
                }
            }
        }
    }

    fn disconnected(pause: Disconnected) -> FeedEvent {
        FeedEvent::Disconnected(pause)
    }

    fn reconnected(&self) -> Option<FeedEvent> {
        Some(FeedEvent::Reconnected(self.session.position().cloned()))
    }
}

/// Requests that wait for the connection. It takes few to keep the connection busy; requests
/// without an answer are limited by the session.
const REQUESTS_AHEAD: usize = 16;

/// The sending half of one call. Dropping it half-closes the call.
struct RequestSender(Option<mpsc::Sender<TagFeedRequest>>);

impl RequestSender {
    /// The sending half, and the request stream that the call reads.
    fn new() -> (Self, ReceiverStream<TagFeedRequest>) {
        let (sender, body) = mpsc::channel(REQUESTS_AHEAD);
        (Self(Some(sender)), ReceiverStream::new(body))
    }

    /// Waits for room for a request. `None` if the call has ended; the response says why.
    /// Cancel-safe.
    async fn room(&self) -> Option<mpsc::Permit<'_, TagFeedRequest>> {
        match &self.0 {
            Some(sender) => sender.reserve().await.ok(),
            None => None,
        }
    }

    fn half_close(&mut self) {
        self.0 = None;
    }
}
