//! Bidirectional: a stream of requests goes out while a stream of answers comes in, on one call.
//!
//! Both directions are streams here too: [`tag_feed`] takes requests and yields events. It keeps what a new call would
//! need: the position and the tags in force at it, which change together, and the requests that have no answer yet. After
//! a cut it joins those tags at that position and sends those requests again; a post has an id, so that it is stored
//! once however often it is sent.

use std::{collections::VecDeque, pin::pin};

use async_stream::try_stream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use quartet::{
    codec, limits,
    post::v1::{
        Bookmark, JoinTags, Joined, LeaveTags, Left, LogPosition, PostBatch, PostMessage,
        PublishPost, Receipt, TagFeedRequest, TagFeedResponse,
        post_service_client::PostServiceClient, tag_feed_request, tag_feed_response,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    Channel, Error,
    list::begun,
    order::Order,
    resume::{Disconnected, Resume},
};

const PATH: &str = "/post.v1.PostService/TagFeed";

/// Requests that may wait for the connection. It only has to keep the sender busy; what has no answer is bounded by
/// [`limits::OWED_RECEIPTS`].
const REQUESTS_AHEAD: usize = 16;

/// What is asked of a feed.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedRequest {
    /// Follow these tags, or every post. Answered by [`FeedEvent::Joined`].
    Join {
        /// Added to those followed.
        tags: Vec<String>,
        /// Follow every post, tagged or not.
        all_tags: bool,
    },
    /// Follow them no longer. Answered by [`FeedEvent::Left`].
    Leave {
        /// Taken from those followed.
        tags: Vec<String>,
        /// Follow nothing any more.
        all_tags: bool,
    },
    /// Store this post. Answered by [`FeedEvent::Receipt`]. Its `post_id` must be its own.
    Publish(PostMessage),
}

/// Where the first join starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum FeedStart {
    /// With what is posted from now on.
    #[default]
    Now,
    /// With the first post of the log.
    Oldest,
    /// After this position.
    After(LogPosition),
}

/// What happens on a feed.
#[derive(Debug)]
pub enum FeedEvent {
    /// This request was handed to the connection: for the first time, or again after a cut.
    Sent(FeedRequest),
    /// A join is in force.
    Joined(Joined),
    /// A leave is in force.
    Left(Left),
    /// Posts of the tags followed.
    Posts(PostBatch),
    /// The answer to a publish.
    Receipt(Receipt),
    /// The feed has come this far.
    Bookmark(Bookmark),
    /// The call was cut and will be resumed.
    Disconnected(Disconnected),
    /// It was resumed after this position; without one, nothing was joined yet.
    Reconnected(Option<LogPosition>),
}

/// A feed that sends `requests` and resumes after a cut.
///
/// The end of `requests` half-closes the call: the feed yields what is still owed and everything up to the newest post,
/// then ends. Dropping the feed ends the call at once, in both directions. Requests are taken only while fewer than 64
/// wait for their answer, and posts only as the feed is polled, so neither direction fills memory. For a program that
/// decides as it goes, `requests` is the receiving end of a bounded channel.
///
/// # Errors
/// Those of the RPC that are not resumable, those that [`Resume`] gave up on, and [`Error::Protocol`]. Whether a post
/// without receipt was stored is then unknown; publishing it again with the same id is safe.
pub fn tag_feed(
    channel: Channel,
    start: FeedStart,
    requests: impl Stream<Item = FeedRequest> + Send,
) -> impl Stream<Item = Result<FeedEvent, Error>> + Send {
    try_stream! {
        let mut requests = pin!(requests);
        let mut session = Session::new(start);
        let mut resume = Resume::of(&channel, PATH);
        let client = PostServiceClient::new(channel);
        loop {
            session.reconnect();
            let (sender, body) = mpsc::channel(REQUESTS_AHEAD);
            let mut sender = Some(sender);
            let mut responses = pin!(call(client.clone(), ReceiverStream::new(body)));
            let cut = loop {
                if session.is_all_sent() || sender.as_ref().is_some_and(mpsc::Sender::is_closed) {
                    sender = None; // the half-close; or the call is over, and the next response says why
                }
                let step = tokio::select! {
                    // Requests first: they stop when 64 have no answer, while posts may come without end.
                    biased;
                    permit = reserve(&sender), if session.has_unsent() => Step::Send(permit),
                    request = requests.next(), if session.takes_requests() => Step::Take(request),
                    response = responses.next() => Step::Receive(response),
                };
                match step {
                    Step::Take(request) => session.take(request),
                    Step::Send(Some(permit)) => {
                        if let Some(request) = session.send_next(permit) {
                            yield FeedEvent::Sent(request);
                        }
                    }
                    Step::Send(None) => {}
                    Step::Receive(Some(Ok(None))) => resume.begin(),
                    Step::Receive(Some(Ok(Some(response)))) => {
                        resume.progress();
                        if resume.is_resumed() {
                            yield FeedEvent::Reconnected(session.position.clone());
                        }
                        if let Some(event) = session.receive(response)? {
                            yield event;
                        }
                    }
                    Step::Receive(None) if session.is_complete() => return,
                    Step::Receive(None) => break Error::Truncated,
                    Step::Receive(Some(Err(status))) => break Error::from(status),
                }
            };
            let pause = resume.pause(cut)?;
            let delay = pause.delay;
            yield FeedEvent::Disconnected(pause);
            tokio::time::sleep(delay).await;
        }
    }
}

enum Step<'a> {
    Take(Option<FeedRequest>),
    Send(Option<mpsc::Permit<'a, TagFeedRequest>>),
    Receive(Option<Result<Option<TagFeedResponse>, Status>>),
}

/// Room for a request; `None` once the connection takes no more.
async fn reserve(
    sender: &Option<mpsc::Sender<TagFeedRequest>>,
) -> Option<mpsc::Permit<'_, TagFeedRequest>> {
    match sender {
        Some(sender) => sender.reserve().await.ok(),
        None => future::pending().await,
    }
}

/// One call as one stream. The call is made as the stream is polled, because a server may hold its headers back until it
/// has read a request. Its head is a `None`.
fn call(
    mut client: PostServiceClient<Channel>,
    requests: ReceiverStream<TagFeedRequest>,
) -> impl Stream<Item = Result<Option<TagFeedResponse>, Status>> + Send {
    stream::once(async move { client.tag_feed(requests).await.map(begun) }).try_flatten()
}

/// What a feed knows between two messages, whatever connection they travel on.
#[derive(Debug)]
struct Session {
    start: FeedStart,
    /// None until the first join is in force: before that, a bookmark is no place to start from.
    position: Option<LogPosition>,
    order: Order,
    tags: Vec<String>,
    all_tags: bool,
    /// Requests without an answer, in their order. The first `sent` of them went out on this connection.
    unanswered: VecDeque<Unanswered>,
    sent: usize,
    /// Whether a join went out on this connection. Only the first says where to start.
    joined: bool,
    /// Whether a join is in force on this connection. Without one its positions say nothing of this feed's.
    following: bool,
    /// Whether the last message was a bookmark with `caught_up`.
    caught_up: bool,
    /// Whether the requests have ended.
    ended: bool,
}

#[derive(Debug, Clone)]
struct Unanswered {
    request: FeedRequest,
    /// A join by which a new connection takes up the tags of the one before; nobody asked for its answer.
    rejoin: bool,
}

impl Session {
    fn new(start: FeedStart) -> Self {
        Self {
            order: match &start {
                FeedStart::After(position) => Order::after(Some(position)),
                FeedStart::Now | FeedStart::Oldest => Order::default(),
            },
            start,
            position: None,
            tags: Vec::new(),
            all_tags: false,
            unanswered: VecDeque::new(),
            sent: 0,
            joined: false,
            following: false,
            caught_up: false,
            ended: false,
        }
    }

    /// Prepares for a new connection: what is followed is joined first, and what has no answer is sent after it.
    fn reconnect(&mut self) {
        self.sent = 0;
        self.joined = false;
        self.following = false;
        self.caught_up = false;
        self.unanswered.retain(|unanswered| !unanswered.rejoin);
        if self.all_tags || !self.tags.is_empty() {
            let request = FeedRequest::Join { tags: self.tags.clone(), all_tags: self.all_tags };
            self.unanswered.push_front(Unanswered { request, rejoin: true });
        }
    }

    fn takes_requests(&self) -> bool {
        !self.ended && self.unanswered.len() < limits::OWED_RECEIPTS
    }

    fn take(&mut self, request: Option<FeedRequest>) {
        match request {
            Some(request) => self.unanswered.push_back(Unanswered { request, rejoin: false }),
            None => self.ended = true,
        }
    }

    fn has_unsent(&self) -> bool {
        self.sent < self.unanswered.len()
    }

    /// Sends the next request and returns it, unless it is none that the user made.
    fn send_next(&mut self, permit: mpsc::Permit<'_, TagFeedRequest>) -> Option<FeedRequest> {
        let Unanswered { request, rejoin } = self.unanswered.get(self.sent)?.clone();
        self.sent += 1;
        permit.send(self.message(request.clone()));
        (!rejoin).then_some(request)
    }

    fn message(&mut self, request: FeedRequest) -> TagFeedRequest {
        use tag_feed_request::Payload;
        let payload = match request {
            FeedRequest::Join { tags, all_tags } => Payload::Join(self.join(tags, all_tags)),
            FeedRequest::Leave { tags, all_tags } => Payload::Leave(LeaveTags { tags, all_tags }),
            FeedRequest::Publish(post) => {
                Payload::Publish(PublishPost { post_message: Some(post) })
            }
        };
        TagFeedRequest { payload: Some(payload) }
    }

    fn join(&mut self, tags: Vec<String>, all_tags: bool) -> JoinTags {
        let plain = JoinTags { tags, all_tags, resume_after: None, from_oldest: false };
        if std::mem::replace(&mut self.joined, true) {
            return plain;
        }
        match (&self.position, &self.start) {
            (Some(position), _) | (None, FeedStart::After(position)) => {
                JoinTags { resume_after: Some(position.clone()), ..plain }
            }
            (None, FeedStart::Oldest) => JoinTags { from_oldest: true, ..plain },
            (None, FeedStart::Now) => plain,
        }
    }

    /// Takes a message of the server in. `None`: nothing that the user asked for.
    fn receive(&mut self, response: TagFeedResponse) -> Result<Option<FeedEvent>, Error> {
        use tag_feed_response::Payload;
        let Some(payload) = response.payload else {
            return Ok(None); // of a newer server
        };
        self.caught_up = matches!(&payload, Payload::Bookmark(bookmark) if bookmark.caught_up);
        match payload {
            Payload::Joined(joined) => self.on_joined(joined),
            Payload::Left(left) => self.on_left(left).map(Some),
            Payload::Posts(batch) => self.on_posts(batch).map(Some),
            Payload::Receipt(receipt) => self.on_receipt(receipt).map(Some),
            Payload::Bookmark(bookmark) => self.on_bookmark(bookmark).map(Some),
        }
    }

    fn on_joined(&mut self, joined: Joined) -> Result<Option<FeedEvent>, Error> {
        let answered = self.answer("joined", |r| matches!(r, FeedRequest::Join { .. }))?;
        self.position = Some(self.order.advance([], joined.position.clone())?);
        self.following = true;
        (self.tags, self.all_tags) = (joined.tags.clone(), joined.all_tags);
        Ok((!answered.rejoin).then_some(FeedEvent::Joined(joined)))
    }

    fn on_left(&mut self, mut left: Left) -> Result<FeedEvent, Error> {
        self.answer("left", |request| matches!(request, FeedRequest::Leave { .. }))?;
        self.reach(&mut left.position)?;
        (self.tags, self.all_tags) = (left.tags.clone(), left.all_tags);
        Ok(FeedEvent::Left(left))
    }

    fn on_posts(&mut self, batch: PostBatch) -> Result<FeedEvent, Error> {
        self.advance(&batch.post_messages, &batch.position)?;
        Ok(FeedEvent::Posts(batch))
    }

    fn on_receipt(&mut self, receipt: Receipt) -> Result<FeedEvent, Error> {
        let answered = self.answer("receipt", |r| matches!(r, FeedRequest::Publish(_)))?;
        match answered.request {
            FeedRequest::Publish(post) if echoed(&post.post_id) == receipt.post_id => {
                Ok(FeedEvent::Receipt(receipt))
            }
            _ => Err(Error::Protocol(format!("a receipt out of turn: {:?}", receipt.post_id))),
        }
    }

    fn on_bookmark(&mut self, mut bookmark: Bookmark) -> Result<FeedEvent, Error> {
        self.reach(&mut bookmark.position)?;
        Ok(FeedEvent::Bookmark(bookmark))
    }

    /// Moves to a position, or keeps the feed's own for it while no join is in force on this connection: a server says
    /// 0 then, even to a feed that came back after it had left all its tags.
    fn reach(&mut self, position: &mut Option<LogPosition>) -> Result<(), Error> {
        match (self.following, &self.position) {
            (false, Some(kept)) => {
                *position = Some(kept.clone());
                Ok(())
            }
            _ => self.advance(&[], position),
        }
    }

    /// Removes the oldest request of a kind that went out on this connection: the one that an answer belongs to.
    fn answer(
        &mut self,
        answer: &str,
        is_kind: impl Fn(&FeedRequest) -> bool,
    ) -> Result<Unanswered, Error> {
        let sent = self.unanswered.iter().take(self.sent);
        let index = sent.into_iter().position(|unanswered| is_kind(&unanswered.request));
        match index.and_then(|index| self.unanswered.remove(index)) {
            Some(unanswered) => {
                self.sent -= 1;
                Ok(unanswered)
            }
            None => Err(Error::Protocol(format!("a {answer} that answers nothing"))),
        }
    }

    fn advance(
        &mut self,
        posts: &[PostMessage],
        position: &Option<LogPosition>,
    ) -> Result<(), Error> {
        if self.position.is_some() || !posts.is_empty() {
            let sequences = posts.iter().map(|post| post.sequence);
            self.position = Some(self.order.advance(sequences, position.clone())?);
        }
        Ok(())
    }

    /// Whether no request will follow on this connection: the time to half-close.
    fn is_all_sent(&self) -> bool {
        self.ended && !self.has_unsent()
    }

    /// Whether an end of the stream is the end of the feed: all was asked, answered and caught up with.
    fn is_complete(&self) -> bool {
        self.ended && self.unanswered.is_empty() && self.caught_up
    }
}

/// A post's id as the server repeats it.
fn echoed(post_id: &str) -> &str {
    codec::truncate(post_id, limits::ID_CHARS)
}
