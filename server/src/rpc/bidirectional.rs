//! Bidirectional streaming: a stream of requests and, independently, a stream of responses.
//!
//! A feed joins tags to receive their posts, and publishes posts to all feeds that joined. It is
//! one loop that waits for whatever comes first: the server stops, a receipt is due, a request
//! comes, there are posts, or there was silence. HTTP/2 polls it only while the client reads, so a
//! client that publishes without reading stops itself and no other client.

use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use quartet::{
    page::{FeedMessage, Page},
    post::v1::{
        Bookmark, PublishPost, TagFeedRequest, TagFeedResponse,
        tag_feed_request::Payload as Requested, tag_feed_response::Payload,
    },
    serve::Streaming,
};
use quartet_connection::Stop;
use tonic::{Request, Response, Status};

use crate::{
    auth::Caller,
    error,
    posts::{
        feed_reader::FeedReader, following::Following, heartbeat::Heartbeat, receipts::Receipts,
        store::PostStore,
    },
};

// ANCHOR: tag_feed
/// The response begins before a request is read: a client may wait for that before it sends any.
pub(super) fn tag_feed(
    posts: &PostStore,
    request: Request<Streaming<TagFeedRequest>>,
) -> Response<BoxStream<'static, Result<FeedMessage, Status>>> {
    let (reader, lane) = FeedReader::new(posts);
    let feed = Feed {
        caller: Caller::of(request.extensions()).cloned().map(Box::new),
        stop: Stop::of(request.extensions()),
        requests: request.into_inner(),
        posts: posts.clone(),
        following: Following::default(),
        receipts: Receipts::default(),
        heartbeat: reader.heartbeat(),
        reader,
        end: None,
    };
    let messages = stream::try_unfold(Box::new(feed), async |mut feed| {
        Ok(feed.next().await?.map(|message| (message, feed)))
    });
    let mut response: Response<BoxStream<'static, _>> = Response::new(Box::pin(messages));
    // While the feed waits, the connection sends its posts without waking it.
    response.extensions_mut().insert(lane);
    response
}

struct Feed {
    posts: PostStore,
    caller: Option<Box<Caller>>,
    requests: Streaming<TagFeedRequest>,
    /// Says when the feed has to end.
    stop: Stop,
    /// The tags that were joined.
    following: Following,
    /// The place in the log.
    reader: FeedReader,
    /// Owed to the client, in publish order.
    receipts: Receipts,
    /// The clock of silence.
    heartbeat: Heartbeat,
    /// Set once the feed is to end.
    end: Option<End>,
}

/// Why a feed ends, and what of it is still to be said.
enum End {
    /// The client sends no more requests: posts up to the head at that time.
    HalfClose { head: Option<u64> },
    /// The server stops, or the connection has to end.
    Stop,
    /// A request was refused, or something failed.
    Status(Status),
    /// Everything is said.
    Over,
}
// ANCHOR_END: tag_feed

impl Feed {
    // ANCHOR: next
    /// The next message to the client; `None` after the last.
    async fn next(&mut self) -> Result<Option<FeedMessage>, Status> {
        while self.end.is_none() {
            if self.reader.has_caught_up() {
                return Ok(Some(self.bookmark(true)));
            }
            let message = tokio::select! {
                // In this order, so that nothing starves: posts may come without end, and requests
                // stop at 64 owed receipts. Branches that lose go on where they were.
                biased;
                () = self.stop.due() => self.end_with(End::Stop),
                receipt = self.receipts.next() => {
                    receipt.map(|receipt| receipt.map(|receipt| self.send(Payload::Receipt(receipt))))
                }
                request = self.requests.next(), if self.receipts.have_room() => {
                    self.receive(request)
                }
                page = self.reader.next() => page.map(|page| Some(self.send_page(page))),
                () = self.heartbeat.silence() => Ok(Some(self.bookmark(false))),
            };
            match message {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(status) => self.end = Some(End::Status(status)),
            }
        }
        // Boxed: a feed that waits reserves no space for its end.
        self.last_words().boxed().await
    }
    // ANCHOR_END: next

    // ANCHOR: receive
    /// Lets a request take effect. An error is the caller's mistake and changes nothing.
    fn receive(
        &mut self,
        request: Option<Result<TagFeedRequest, Status>>,
    ) -> Result<Option<FeedMessage>, Status> {
        let Some(request) = request.transpose()? else {
            return self.end_with(End::HalfClose { head: None });
        };
        let answer = match request.payload {
            Some(Requested::Join(join)) => {
                Payload::Joined(self.following.join(join, &self.posts, &mut self.reader)?)
            }
            Some(Requested::Leave(leave)) => {
                Payload::Left(self.following.leave(leave, &mut self.reader)?)
            }
            Some(Requested::Publish(PublishPost { post_message: Some(post) })) => {
                self.receipts.publish(self.posts.clone(), self.caller.clone(), post);
                return Ok(None);
            }
            Some(Requested::Publish(_)) => {
                return Err(error::invalid_field("publish.post_message", "is not set"));
            }
            None => {
                let problem = "is not set, or unknown to this server";
                return Err(error::invalid_field("payload", problem));
            }
        };
        Ok(Some(self.send(answer)))
    }
    // ANCHOR_END: receive

    // ANCHOR: last_words
    /// The messages before the end, one after the other. However the feed ends, the receipts that
    /// it owes come first.
    async fn last_words(&mut self) -> Result<Option<FeedMessage>, Status> {
        if let Some(receipt) = self.receipts.last().await {
            return Ok(Some(self.send(Payload::Receipt(receipt?))));
        }
        match self.end.take() {
            // No request will follow: posts up to the present head, and that was all.
            Some(End::HalfClose { head }) => {
                let head = head.unwrap_or_else(|| self.reader.head());
                if !self.stop.is_due()
                    && let Some(page) = self.reader.rest(head).await
                {
                    self.end = Some(End::HalfClose { head: Some(head) });
                    return Ok(Some(self.send_page(page?)));
                }
                // If the feed has to stop before the head, the client resumes elsewhere.
                let complete = self.reader.is_at(head);
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
    // ANCHOR_END: last_words

    fn end_with(&mut self, end: End) -> Result<Option<FeedMessage>, Status> {
        self.end = Some(end);
        Ok(None)
    }

    /// A page without posts means that a bookmark is due.
    fn send_page(&mut self, page: Page) -> FeedMessage {
        if page.posts.is_empty() {
            let caught_up = self.end.is_none() && self.reader.has_caught_up();
            return self.bookmark(caught_up);
        }
        self.heartbeat.beat();
        FeedMessage::Posts(page)
    }

    fn bookmark(&mut self, caught_up: bool) -> FeedMessage {
        let position = Some(self.reader.bookmark(caught_up));
        self.send(Payload::Bookmark(Bookmark { position, caught_up }))
    }

    fn send(&mut self, payload: Payload) -> FeedMessage {
        self.heartbeat.beat();
        FeedMessage::Other(TagFeedResponse { payload: Some(payload) })
    }
}
