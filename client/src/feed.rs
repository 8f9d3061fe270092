//! Bidirectional streaming: requests go out and messages come in on one call, each at any time.
//!
//! Both directions are streams here too: [`tag_feed`] takes a stream of requests and returns a
//! stream of events. Read this file from top to bottom: a [`Feed`] makes one call after another,
//! and on each it waits for four things at once. The files beside it:
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
use quartet::{
    limits::REQUEST_HEARTBEAT,
    post::v1::{
        GetBookmark, TagFeedRequest, TagFeedResponse, post_service_client::PostServiceClient,
        tag_feed_request,
    },
};
use quartet_channel::Channel;
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at},
};
use tokio_stream::wrappers::ReceiverStream;

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
/// directions. Nothing runs in the background: the feed sends and receives only while it is polled,
/// so a program that waits for its own requests to be taken without polling waits for ever. A
/// request is taken only while fewer than 64 have no answer, and messages are
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
    /// The requests of the caller. Boxed and pinned: a stream must not move once it was polled.
    requests: Pin<Box<R>>,
    session: Session,
}

/// What a feed waits for. Handled after the `select!`, because in `try_stream!` a `?` works only
/// outside other macros.
enum Wakeup<'a> {
    /// The call has room for another request.
    RoomToSend(mpsc::Permit<'a, TagFeedRequest>),
    /// The caller made a request, or will make no more.
    Request(Option<FeedRequest>),
    /// The next part of the response has arrived, or the call has failed.
    Response(Result<Received<TagFeedResponse>, Error>),
    /// It is time for a sign of life.
    Heartbeat,
}

impl<R: Stream<Item = FeedRequest> + Send> ResumableCall<FeedEvent> for Feed<R> {
    /// Makes one call. In each round it waits for the first of four events, as a `select` in Go
    /// does. A branch whose `if` is false or whose pattern does not match is left out of the round:
    /// once a call has ended, its response decides.
    ///
    /// A stream written as code: `yield` hands out an item and pauses until the next one is asked
    /// for, as in a Go iterator; `?` hands out an error and ends the stream.
    fn attempt(&mut self) -> impl Stream<Item = Result<Step<FeedEvent>, Error>> + Send {
        let Self { client, requests, session } = self;
        try_stream! {
            session.begin_call();
            let (mut outgoing, body) = RequestSender::new();
            let mut heartbeat = interval_at(Instant::now() + REQUEST_HEARTBEAT, REQUEST_HEARTBEAT);
            // Clients are cheap handles: the call owns one.
            let mut client = client.clone();
            let call = async move { Ok(client.tag_feed(body).await?.into_inner()) };
            // Futures are lazy: the call begins with the first `response.next()`. It must not be
            // awaited here, because a server may hold back its headers until it has read a request.
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
                    _ = heartbeat.tick() => Wakeup::Heartbeat,
                };
                match wakeup {
                    Wakeup::RoomToSend(room) => {
                        if let Some(request) = session.send_next(room) {
                            yield Step::Event(FeedEvent::Sent(request));
                        }
                    }
                    Wakeup::Request(request) => session.accept(request),
                    Wakeup::Heartbeat => outgoing.send_heartbeat(),
                    Wakeup::Response(received) => match received? {
                        Received::Headers => yield Step::ResponseBegan,
                        Received::Message(message) => match session.receive(message)? {
                            Some(event) => {
                                yield Step::Progress;
                                yield Step::Event(event);
                            }
                            // The tags of the call before are joined again.
                            None => yield Step::UnderWay,
                        },
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

/// Capacity of the channel from the feed to the connection. A few requests keep the connection
/// busy; the session limits those without an answer.
const REQUESTS_AHEAD: usize = 16;

/// The sending half of one call. Dropping it half-closes the call, as `close(ch)` would: requests
/// in the channel are still sent.
struct RequestSender(Option<mpsc::Sender<TagFeedRequest>>);

impl RequestSender {
    /// The sending half, and the request stream that the call reads.
    fn new() -> (Self, ReceiverStream<TagFeedRequest>) {
        let (sender, body) = mpsc::channel(REQUESTS_AHEAD);
        (Self(Some(sender)), ReceiverStream::new(body))
    }

    /// Waits for room for a request. `None` if the call has ended; the response says why.
    /// Cancel-safe, which sending is not: it would lose the request if another branch won. With
    /// [`Session::send_next`], this is `case out <- next:` of a `select` in Go.
    async fn room(&self) -> Option<mpsc::Permit<'_, TagFeedRequest>> {
        match &self.0 {
            Some(sender) => sender.reserve().await.ok(),
            None => None,
        }
    }

    /// Sends a request that changes nothing. It is not needed while others wait to be sent.
    fn send_heartbeat(&self) {
        let payload = Some(tag_feed_request::Payload::GetBookmark(GetBookmark {}));
        if let Some(sender) = &self.0 {
            drop(sender.try_send(TagFeedRequest { payload }));
        }
    }

    fn half_close(&mut self) {
        self.0 = None;
    }
}
