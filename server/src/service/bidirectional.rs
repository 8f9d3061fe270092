//! Bidirectional streaming: a stream of requests and, independently, a stream of responses.
//!
//! A feed joins tags to receive their posts and publishes posts to all who joined. It is one loop that waits for
//! whatever comes first: a request, a receipt that is due, posts, or silence. It is polled only while the client
//! reads, so a client that publishes without reading stops itself, and nobody else. While it waits, `live.rs` sends the
//! posts that come.

use std::{
    collections::{BTreeSet, VecDeque},
    future::{pending, poll_fn},
    mem::take,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream};
use prost::Message as _;
use quartet::{
    borrowed::PostRef,
    limits::{FEED_TAGS, HEARTBEAT, ID_CHARS, OWED_RECEIPTS},
    post::v1::{
        Bookmark, JoinTags, Joined, LeaveTags, Left, LogPosition, PostMessage, Receipt,
        TagFeedRequest, TagFeedResponse, tag_feed_request::Payload as Asked,
        tag_feed_response::Payload,
    },
    reason,
    wire::{self, FeedMessage, Page},
};
use quartet_log::{Appending, Cursor, Filter, LogError, Outcome, Tags};
use smol_str::SmolStr;
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Code, Status};

use super::{Posts, Reader, Submission, id_taken, live::Live};
use crate::{auth::Caller, connection::Stop, error, validate};

/// What a client asks, one after the other.
pub(super) trait RequestStream:
    Stream<Item = Result<TagFeedRequest, Status>> + Send + Unpin
{
}

impl<S> RequestStream for S where
    S: Stream<Item = Result<TagFeedRequest, Status>> + Send + Unpin + 'static
{
}

// ANCHOR: tag_feed
pub(super) fn tag_feed<R: RequestStream>(
    posts: Posts,
    caller: Option<Caller>,
    requests: R,
    stop: Stop,
    live: Live,
) -> impl Stream<Item = Result<FeedMessage, Status>> {
    let feed = Box::new(Feed::new(posts, caller, requests, stop, live));
    // Not a generator, which would hold all that it makes of a message for as long as it waits for the next.
    stream::try_unfold(feed, async |mut feed| {
        let message = feed.next().await?;
        Ok(message.map(|message| (message, feed)))
    })
}

impl<R: RequestStream> Feed<R> {
    /// The next message to the client; `None` after the last.
    async fn next(&mut self) -> Result<Option<FeedMessage>, Status> {
        while self.end.is_none() {
            match self.event().await {
                Event::Request(request) => match self.handle(request) {
                    Ok(Some(answer)) => return Ok(Some(self.send(answer))),
                    Ok(None) => {}
                    Err(refusal) => self.end = Some(End::Status(refusal)),
                },
                Event::Receipt(receipt) => return Ok(Some(self.send(Payload::Receipt(receipt)))),
                Event::Posts(page) => return Ok(Some(self.send_posts(page))),
                Event::Bookmark { caught_up } => return Ok(Some(self.bookmark(caught_up))),
                Event::End(end) => self.end = Some(end),
            }
        }
        // In a box: a feed that waits shall not hold the room for its end.
        self.last_words().boxed().await
    }

    /// What is still said before the end, one message after the other.
    async fn last_words(&mut self) -> Result<Option<FeedMessage>, Status> {
        // However the feed ends, the receipts that it owes come first.
        if let Some(receipt) = self.owed_receipt().await {
            return Ok(Some(self.send(Payload::Receipt(receipt?))));
        }
        match self.end.take() {
            // No request will follow: everything up to here, and that was all.
            Some(End::HalfClose { head }) => {
                let head = head.unwrap_or_else(|| self.cursor().head());
                if let Some(page) = self.rest(head).await {
                    self.end = Some(End::HalfClose { head: Some(head) });
                    return Ok(Some(self.send_posts(page?)));
                }
                // Unless the feed has to stop before that: the client resumes elsewhere.
                let complete = self.cursor().position() >= head;
                self.end = Some(if complete { End::Over } else { End::Status(self.stop.status()) });
                Ok(Some(self.bookmark(complete)))
            }
            Some(End::Stop) => {
                self.end = Some(End::Status(self.stop.status()));
                Ok(Some(self.bookmark(false)))
            }
            Some(End::Status(status)) => Err(status),
            Some(End::Over) | None => Ok(None),
        }
    }
}
// ANCHOR_END: tag_feed

/// What a feed waits for.
enum Event {
    Request(TagFeedRequest),
    Receipt(Receipt),
    /// At least one post.
    Posts(Page),
    Bookmark {
        caught_up: bool,
    },
    End(End),
}

/// Why a feed ends, and what of it is still to be said.
enum End {
    /// The client sends no more requests: posts up to the head at that time.
    HalfClose { head: Option<u64> },
    /// The server stops, or the connection has to end.
    Stop,
    /// A request was refused, or something failed.
    Status(Status),
    /// All is said.
    Over,
}

struct Feed<R> {
    posts: Posts,
    caller: Option<Box<Caller>>,
    requests: R,
    stop: Stop,
    /// Where the feed is. Lent while it waits for an event, and only then.
    reader: Option<Box<Reader>>,
    live: Live,
    /// Whether the next posts are left to the feed itself.
    left: bool,
    /// What it joined; its filter shares them.
    tags: Arc<[SmolStr]>,
    all_tags: bool,
    /// Whether the first join came and said where to start.
    started: bool,
    /// The head at the first join, until the reader reaches it.
    catch_up: Option<u64>,
    /// A post that is checked and waits for room in the log. No request is read meanwhile: they take effect in order.
    publishing: Option<BoxFuture<'static, Result<Owed, Status>>>,
    /// Receipts to come, in publish order.
    owed: VecDeque<Owed>,
    /// Rings when the feed may have been silent for [`HEARTBEAT`].
    clock: Pin<Box<Sleep>>,
    /// Set once it is to end.
    end: Option<End>,
}

/// A receipt to come: of a post on its way to the disk, or of one that was refused.
struct Owed {
    post_id: String,
    outcome: Result<Appending, Status>,
}

impl<R: RequestStream> Feed<R> {
    fn new(posts: Posts, caller: Option<Caller>, requests: R, stop: Stop, live: Live) -> Self {
        let reader = posts.reader(Filter::default(), *posts.log.head().borrow());
        Self {
            posts,
            caller: caller.map(Box::new),
            requests,
            stop,
            reader: Some(Box::new(reader)),
            live,
            left: false,
            tags: [].into(),
            all_tags: false,
            started: false,
            catch_up: None,
            publishing: None,
            owed: VecDeque::new(),
            clock: Box::pin(sleep(HEARTBEAT)),
            end: None,
        }
    }

    // ANCHOR: event
    /// Waits for what comes first. Every branch is cancel-safe: those that lose go on where they were.
    async fn event(&mut self) -> Event {
        loop {
            let position = self.cursor().position();
            if self.catch_up.is_some_and(|head| position >= head) {
                self.catch_up = None;
                return Event::Bookmark { caught_up: true };
            }
            self.lend();
            let may_request = self.publishing.is_none() && self.owed.len() < OWED_RECEIPTS;
            let event = tokio::select! {
                // In this order, so that nobody starves: posts may come without end, requests stop at 64 owed receipts.
                biased;
                () = self.stop.due() => Ok(Some(Event::End(End::Stop))),
                published = output(&mut self.publishing), if self.publishing.is_some() => {
                    published.map(|owed| {
                        self.owed.push_back(owed);
                        None
                    })
                }
                receipt = next_receipt(&mut self.owed), if !self.owed.is_empty() => {
                    if receipt.is_err() {
                        self.publishing = None;
                    }
                    receipt.map(|receipt| Some(Event::Receipt(receipt)))
                }
                request = self.requests.next(), if may_request => match request {
                    Some(Ok(request)) => Ok(Some(Event::Request(request))),
                    None => Ok(Some(Event::End(End::HalfClose { head: None }))),
                    Some(Err(status)) => Err(error::of_request_message(&status)),
                },
                page = read(self.reader.as_deref_mut(), self.catch_up), if self.started => {
                    page.map(|page| self.page_event(page))
                }
                () = self.live.left() => {
                    self.left = true;
                    Ok(None)
                }
                () = silence(&mut self.clock, &self.live) => Ok(Some(Event::Bookmark { caught_up: false })),
            };
            self.take_back();
            match event {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(status) => return Event::End(End::Status(status)),
            }
        }
    }
    // ANCHOR_END: event

    /// Lets posts go out while the feed waits, once it has caught up.
    fn lend(&mut self) {
        if self.started && self.catch_up.is_none() && !take(&mut self.left) {
            self.live.lend(&mut self.reader);
        }
    }

    fn take_back(&mut self) {
        if let Some(reader) = self.live.take_back() {
            self.reader = Some(reader);
        }
    }

    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("invariant: it is lent only while an event is waited for")
    }

    fn cursor(&mut self) -> &mut Cursor {
        &mut self.reader().cursor
    }

    fn page_event(&self, page: Page) -> Option<Event> {
        if !page.posts.is_empty() {
            Some(Event::Posts(page))
        } else if self.catch_up.is_some_and(|head| page.position.sequence as u64 >= head) {
            None // The bookmark that says so comes next.
        } else {
            Some(Event::Bookmark { caught_up: false })
        }
    }

    // ANCHOR: handle
    /// Lets a request take effect. An error is the caller's mistake and changes nothing.
    fn handle(&mut self, request: TagFeedRequest) -> Result<Option<Payload>, Status> {
        match request.payload {
            Some(Asked::Join(join)) => self.join(join).map(Some),
            Some(Asked::Leave(leave)) => self.leave(leave).map(Some),
            Some(Asked::Publish(publish)) => {
                let post = publish
                    .post_message
                    .ok_or_else(|| error::invalid_field("publish.post_message", "is not set"))?;
                self.publishing =
                    Some(publish_post(self.posts.clone(), self.caller.clone(), post).boxed());
                Ok(None)
            }
            None => Err(error::invalid_field("payload", "is not set, or unknown to this server")),
        }
    }
    // ANCHOR_END: handle

    fn join(&mut self, join: JoinTags) -> Result<Payload, Status> {
        let JoinTags { tags, all_tags, resume_after, from_oldest } = join;
        if tags.is_empty() && !all_tags {
            return Err(error::invalid_field("join.tags", "names no tag, and all_tags is not set"));
        }
        let mut tags = validate::tags("join.tags", tags, FEED_TAGS)?;
        tags.extend(self.tags.iter().map(ToString::to_string));
        if tags.len() > FEED_TAGS {
            let message = format!("follows {} tags with these; at most {FEED_TAGS}", tags.len());
            return Err(error::invalid_field("join.tags", message));
        }
        let start = match (self.started, resume_after, from_oldest) {
            (true, None, false) => None,
            (true, ..) => {
                return Err(error::status(
                    Code::FailedPrecondition,
                    reason::START_AFTER_FIRST_JOIN,
                    "only the first join of a feed may say where to start",
                ));
            }
            (false, Some(_), true) => {
                return Err(error::invalid_field("join.from_oldest", "resume_after is set too"));
            }
            (false, Some(position), false) => {
                Some(validate::position(Some(position), &*self.posts.log)?)
            }
            (false, None, true) => Some(0),
            (false, None, false) => Some(self.cursor().head()),
        };

        let tags = tags.into_iter().map(SmolStr::from).collect();
        self.follow(tags, self.all_tags || all_tags);
        if let Some(start) = start {
            self.cursor().start_at(start);
            self.catch_up = Some(self.cursor().head());
            self.started = true;
        }
        let (tags, all_tags, position) = self.followed();
        Ok(Payload::Joined(Joined { tags, all_tags, position }))
    }

    fn leave(&mut self, leave: LeaveTags) -> Result<Payload, Status> {
        let LeaveTags { tags, all_tags } = leave;
        if tags.is_empty() && !all_tags {
            return Err(error::invalid_field(
                "leave.tags",
                "names no tag, and all_tags is not set",
            ));
        }
        let gone = validate::tags("leave.tags", tags, FEED_TAGS)?;
        if self.all_tags && !all_tags {
            return Err(error::status(
                Code::FailedPrecondition,
                reason::ALL_TAGS_FOLLOWED,
                "all tags are followed; leave them with all_tags",
            ));
        }
        let rest = self.tags.iter().filter(|tag| !all_tags && !gone.contains(&***tag));
        self.follow(rest.cloned().collect(), false);
        let (tags, all_tags, position) = self.followed();
        Ok(Payload::Left(Left { tags, all_tags, position }))
    }

    /// Follows these tags, which are in order, or all.
    fn follow(&mut self, tags: Arc<[SmolStr]>, all_tags: bool) {
        let filter = if all_tags { Tags::All } else { Tags::AnyOf(tags.clone()) };
        (self.tags, self.all_tags) = (tags, all_tags);
        self.cursor().change_filter(Filter { tags: filter, user_ids: BTreeSet::new() });
    }

    fn followed(&mut self) -> (Vec<String>, bool, Option<LogPosition>) {
        let sequence = if self.started { self.cursor().position() } else { 0 };
        let position = Some(self.posts.position(sequence));
        (self.tags.iter().map(ToString::to_string).collect(), self.all_tags, position)
    }

    /// The next receipt of what was published before the end, or `None` if none is owed.
    async fn owed_receipt(&mut self) -> Option<Result<Receipt, Status>> {
        if self.owed.is_empty() && self.publishing.is_some() {
            match output(&mut self.publishing).await {
                Ok(owed) => self.owed.push_back(owed),
                Err(status) => return Some(Err(status)),
            }
        }
        if self.owed.is_empty() { None } else { Some(next_receipt(&mut self.owed).await) }
    }

    /// The next page up to `head`, or `None` if the reader is there or has to stop.
    async fn rest(&mut self, head: u64) -> Option<Result<Page, Status>> {
        let more = self.cursor().bookmark() < head && !self.stop.is_due();
        if more { Some(self.reader().replay(head).await) } else { None }
    }

    fn send(&mut self, payload: Payload) -> FeedMessage {
        self.live.speak();
        FeedMessage::Other(TagFeedResponse { payload: Some(payload) })
    }

    fn send_posts(&mut self, page: Page) -> FeedMessage {
        if page.posts.is_empty() {
            return self.bookmark(false);
        }
        self.live.speak();
        FeedMessage::Posts(page)
    }

    /// A feed that may still join anywhere says 0: nothing at or before a bookmark may follow it.
    fn bookmark(&mut self, caught_up: bool) -> FeedMessage {
        let sequence = if self.started || caught_up { self.cursor().bookmark() } else { 0 };
        let position = Some(self.posts.position(sequence));
        self.send(Payload::Bookmark(Bookmark { position, caught_up }))
    }
}

// What an event waits for. No async functions: those hold what they are called with twice, and each feed holds all of them.

/// Waits until nothing was said for [`HEARTBEAT`]. The clock is set again only when it rings, not with every message.
/// Cancel-safe.
fn silence(clock: &mut Pin<Box<Sleep>>, live: &Live) -> impl Future<Output = ()> {
    poll_fn(|cx| {
        loop {
            let due = live.spoke() + HEARTBEAT;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            if clock.is_elapsed() {
                clock.as_mut().reset(due);
            }
            ready!(clock.as_mut().poll(cx));
        }
    })
}

/// Reads up to the head of the first join, then what is new. Never, while the reader is lent.
fn read(reader: Option<&mut Reader>, catch_up: Option<u64>) -> BoxFuture<'_, Result<Page, Status>> {
    match (reader, catch_up) {
        (Some(reader), Some(head)) => reader.replay(head).boxed(),
        (Some(reader), None) => reader.follow().boxed(),
        (None, _) => pending().boxed(),
    }
}

// ANCHOR: publish
/// Checks a post and gives it its place in the log.
async fn publish_post(
    posts: Posts,
    caller: Option<Box<Caller>>,
    post: PostMessage,
) -> Result<Owed, Status> {
    let message = post.encode_to_vec();
    let sent = PostRef::decode(&message).map_err(wire::undecodable)?;
    let outcome = match posts.submission(caller.as_deref(), sent, Instant::now()).await? {
        Submission::Accepted(post) => {
            let mut alone = posts.new_posts(message.len());
            alone.push(&post);
            Ok(posts.log.append(alone).await.map_err(error::of_log)?)
        }
        Submission::Refused(status) => Err(status),
    };
    Ok(Owed { post_id: post.post_id, outcome })
}

/// Waits for the oldest receipt, which is due once its post is on disk. Cancel-safe.
fn next_receipt(owed: &mut VecDeque<Owed>) -> impl Future<Output = Result<Receipt, Status>> {
    poll_fn(|cx| {
        let Some(Owed { post_id, outcome }) = owed.front_mut() else { return Poll::Pending };
        let receipt = match outcome {
            Ok(appending) => appended(post_id, ready!(appending.poll_unpin(cx))),
            Err(refusal) => Ok(refused(post_id, refusal)),
        };
        match receipt {
            Ok(_) => drop(owed.pop_front()),
            // What became of this post is unknown, and receipts come in order: those behind it get none either.
            Err(_) => owed.clear(),
        }
        Poll::Ready(receipt)
    })
}

fn appended(post_id: &str, outcomes: Result<Vec<Outcome>, LogError>) -> Result<Receipt, Status> {
    Ok(match outcomes.map_err(error::of_log)?.first().ok_or_else(error::internal)? {
        Outcome::Created(sequence) => stored(post_id, *sequence, false),
        Outcome::Duplicate(sequence) => stored(post_id, *sequence, true),
        Outcome::IdTaken => refused(post_id, &id_taken(post_id)),
    })
}
// ANCHOR_END: publish

fn stored(post_id: &str, sequence: u64, duplicate: bool) -> Receipt {
    Receipt { post_id: post_id.to_owned(), sequence: sequence as i64, duplicate, status: None }
}

fn refused(post_id: &str, status: &Status) -> Receipt {
    Receipt {
        post_id: wire::truncate(post_id, ID_CHARS).to_owned(),
        status: Some(error::embedded(status)),
        ..Receipt::default()
    }
}

/// Waits for the future in the slot and empties it. Cancel-safe.
fn output<T>(slot: &mut Option<BoxFuture<'static, T>>) -> impl Future<Output = T> {
    poll_fn(|cx| {
        let Some(future) = slot else { return Poll::Pending };
        let output = ready!(future.poll_unpin(cx));
        *slot = None;
        Poll::Ready(output)
    })
}
