//! What a feed remembers from one call to the next, and what each message changes about it.

use quartet::{
    codec, limits,
    post::v1::{
        Bookmark, JoinTags, Joined, LeaveTags, Left, LogPosition, PostBatch, PostMessage,
        PublishPost, Receipt, TagFeedRequest, TagFeedResponse, tag_feed_request, tag_feed_response,
    },
};
use tokio::sync::mpsc::Permit;

use super::{
    event::{FeedEvent, FeedRequest, FeedStart},
    unanswered::{UnansweredRequest, UnansweredRequests},
};
use crate::{error::Error, order::Order};

/// The state of a feed, independent of the connection.
///
/// The position and the tags change together, when an answer is handled: a new call that joins
/// these tags at this position misses nothing.
#[derive(Debug)]
pub(super) struct Session {
    start: FeedStart,
    /// `None` until the first join is in force: a bookmark before it is not a place to resume from.
    position: Option<LogPosition>,
    order: Order,
    /// The tags in force at `position`.
    tags: Vec<String>,
    all_tags: bool,
    unanswered: UnansweredRequests,
    /// Whether the caller will make no more requests.
    requests_ended: bool,
    call: CallState,
}

/// What holds for one call and starts anew with the next.
#[derive(Debug, Default)]
struct CallState {
    /// Whether a join was sent. Only the first join says where to start.
    join_sent: bool,
    /// Whether a join is in force. Before, positions of the server do not apply to this feed.
    join_in_force: bool,
    /// Whether the last message was a bookmark with `caught_up`.
    caught_up: bool,
}

impl Session {
    pub(super) fn new(start: FeedStart) -> Self {
        let order = match &start {
            FeedStart::After(position) => Order::after(Some(position)),
            FeedStart::Now | FeedStart::Oldest => Order::default(),
        };
        Self {
            start,
            position: None,
            order,
            tags: Vec::new(),
            all_tags: false,
            unanswered: UnansweredRequests::default(),
            requests_ended: false,
            call: CallState::default(),
        }
    }

    /// The position after which the next call resumes, once a join was in force.
    pub(super) fn position(&self) -> Option<&LogPosition> {
        self.position.as_ref()
    }

    /// Prepares for a new call: it joins the tags in force, then repeats every request without an
    /// answer.
    pub(super) fn begin_call(&mut self) {
        self.call = CallState::default();
        let rejoin = FeedRequest::Join { tags: self.tags.clone(), all_tags: self.all_tags };
        let has_joined = self.all_tags || !self.tags.is_empty();
        self.unanswered.send_again(has_joined.then_some(rejoin));
    }

    /// Whether another request of the caller can be accepted now.
    pub(super) fn accepts_requests(&self) -> bool {
        !self.requests_ended && self.unanswered.has_room()
    }

    /// Accepts a request of the caller, or the end of its requests.
    pub(super) fn accept(&mut self, request: Option<FeedRequest>) {
        match request {
            Some(request) => self.unanswered.push(request),
            None => self.requests_ended = true,
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unanswered.has_unsent()
    }

    /// Whether no request will follow on this call: the time to half-close.
    pub(super) fn is_all_sent(&self) -> bool {
        self.requests_ended && !self.has_unsent()
    }

    /// Whether the end of the call is the end of the feed: every request has its answer, and the
    /// feed has caught up with the log.
    pub(super) fn is_complete(&self) -> bool {
        self.requests_ended && self.unanswered.is_empty() && self.call.caught_up
    }

    /// Sends the next request and returns it, unless it is not one of the caller's.
    pub(super) fn send_next(&mut self, room: Permit<'_, TagFeedRequest>) -> Option<FeedRequest> {
        let UnansweredRequest { request, is_rejoin } = self.unanswered.send_next()?;
        room.send(self.message(request.clone()));
        (!is_rejoin).then_some(request)
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
        let join = JoinTags { tags, all_tags, resume_after: None, from_oldest: false };
        if std::mem::replace(&mut self.call.join_sent, true) {
            return join;
        }
        match (&self.position, &self.start) {
            (Some(position), _) | (None, FeedStart::After(position)) => {
                JoinTags { resume_after: Some(position.clone()), ..join }
            }
            (None, FeedStart::Oldest) => JoinTags { from_oldest: true, ..join },
            (None, FeedStart::Now) => join,
        }
    }

    /// Handles a message of the server. `None`: it answers no request of the caller.
    ///
    /// # Errors
    /// [`Error::Protocol`].
    pub(super) fn receive(&mut self, message: TagFeedResponse) -> Result<Option<FeedEvent>, Error> {
        use tag_feed_response::Payload;
        let Some(payload) = message.payload else {
            return Ok(None); // a payload of a newer server
        };
        self.call.caught_up = matches!(&payload, Payload::Bookmark(bookmark) if bookmark.caught_up);
        match payload {
            Payload::Joined(joined) => self.receive_joined(joined),
            Payload::Left(left) => self.receive_left(left).map(Some),
            Payload::Posts(batch) => self.receive_posts(batch).map(Some),
            Payload::Receipt(receipt) => self.receive_receipt(receipt).map(Some),
            Payload::Bookmark(bookmark) => self.receive_bookmark(bookmark).map(Some),
        }
    }

    fn receive_joined(&mut self, joined: Joined) -> Result<Option<FeedEvent>, Error> {
        let answered = self.unanswered.answer(|r| matches!(r, FeedRequest::Join { .. }));
        let answered = answered.ok_or_else(|| without_request("joined"))?;
        self.position = Some(self.order.advance([], joined.position.clone())?);
        self.call.join_in_force = true;
        (self.tags, self.all_tags) = (joined.tags.clone(), joined.all_tags);
        Ok((!answered.is_rejoin).then_some(FeedEvent::Joined(joined)))
    }

    fn receive_left(&mut self, mut left: Left) -> Result<FeedEvent, Error> {
        let answered = self.unanswered.answer(|r| matches!(r, FeedRequest::Leave { .. }));
        answered.ok_or_else(|| without_request("left"))?;
        self.reach(&mut left.position)?;
        (self.tags, self.all_tags) = (left.tags.clone(), left.all_tags);
        Ok(FeedEvent::Left(left))
    }

    fn receive_posts(&mut self, batch: PostBatch) -> Result<FeedEvent, Error> {
        self.advance(&batch.post_messages, &batch.position)?;
        Ok(FeedEvent::Posts(batch))
    }

    fn receive_receipt(&mut self, receipt: Receipt) -> Result<FeedEvent, Error> {
        let answered = self.unanswered.answer(|r| matches!(r, FeedRequest::Publish(_)));
        match answered.ok_or_else(|| without_request("receipt"))?.request {
            FeedRequest::Publish(post) if echoed_id(&post) == receipt.post_id => {
                Ok(FeedEvent::Receipt(receipt))
            }
            _ => Err(Error::Protocol(format!("a receipt out of turn: {:?}", receipt.post_id))),
        }
    }

    fn receive_bookmark(&mut self, mut bookmark: Bookmark) -> Result<FeedEvent, Error> {
        self.reach(&mut bookmark.position)?;
        Ok(FeedEvent::Bookmark(bookmark))
    }

    /// Advances to a position of the server. While no join is in force on this call, the feed's own
    /// position is put in its place: a server says 0 then, even to a resumed feed that has left all
    /// its tags.
    fn reach(&mut self, position: &mut Option<LogPosition>) -> Result<(), Error> {
        match &self.position {
            Some(own) if !self.call.join_in_force => {
                *position = Some(own.clone());
                Ok(())
            }
            _ => self.advance(&[], position),
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
}

fn without_request(answer: &str) -> Error {
    Error::Protocol(format!("{answer} without a request"))
}

/// A post's id as the server repeats it in the receipt: a longer one is cut.
fn echoed_id(post: &PostMessage) -> &str {
    codec::truncate(&post.post_id, limits::ID_CHARS)
}
