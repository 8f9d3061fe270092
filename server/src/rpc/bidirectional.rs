//! Bidirectional streaming: a stream of requests and, independently, a stream of responses.
//!
//! A feed joins tags to receive their posts, and publishes posts. It is one loop over five events:
//! the server stops, a receipt is ready, a request arrives, posts are available, or the feed was
//! idle. It has no task and no queue: the connection asks it for the next message (polls it) only
//! while the client grants a flow-control window, so a slow client stops only its own feed.

use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use quartet::{
    page::{FeedMessage, Page},
    post::v1::{
        Bookmark, PublishPost, Receipt, TagFeedRequest, TagFeedResponse,
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
        feed_reader::FeedReader,
        following::Following,
        heartbeat::Heartbeat,
        messages::{FeedMessages, respond},
        receipts::Receipts,
        store::PostStore,
    },
};

// ANCHOR: tag_feed
/// Returns before a request is read: a client may wait for the response headers before it sends
/// one. The posts of a [`FeedMessage`] stay encoded as the log stores them.
pub(super) fn tag_feed(
    posts: &PostStore,
    request: Request<Streaming<TagFeedRequest>>,
) -> Response<BoxStream<'static, Result<FeedMessage, Status>>> {
    let (reader, lane) = FeedReader::new(posts);
    let feed = Feed {
        stop: Stop::of(request.extensions()),
        receipts: Receipts::new(posts, Caller::of(request.extensions())),
        requests: request.into_inner(),
        following: Following::default(),
        heartbeat: reader.heartbeat(),
        reader,
        ending: None,
    };
    // Most new posts bypass the loop below, on the lane: see posts/live.rs.
    respond(feed, lane)
}

struct Feed {
    requests: Streaming<TagFeedRequest>,
    /// Like `ctx.Done()` in Go, but the feed still sends its last messages.
    stop: Stop,
    following: Following,
    reader: FeedReader,
    receipts: Receipts,
    heartbeat: Heartbeat,
    ending: Option<Ending>,
}

/// What a feed that ends still sends after its outstanding receipts. Each message moves it on.
enum Ending {
    /// The client half-closed: posts up to the head after the last receipt (`None` until then, so
    /// that its own posts are sent), then a bookmark.
    HalfClosed {
        head: Option<u64>,
    },
    /// The server stops, or the connection must end: a bookmark, then the status.
    Stopped,
    /// The status: of a refused request, a failure, or a stop.
    Status(Status),
    Done, // the call ends OK
}

type NextMessage = Result<Option<FeedMessage>, Status>; // `None`: an event needs none, or the end
// ANCHOR_END: tag_feed

impl FeedMessages for Feed {
    // ANCHOR: next
    /// The next message to the client. To return it is to send it: the connection writes it, then
    /// calls this again.
    async fn next(&mut self) -> NextMessage {
        while self.ending.is_none() {
            if self.reader.take_caught_up() {
                return self.bookmark(true).await;
            }
            let message = tokio::select! {
                // In this order (Go's select picks at random), because posts can come without end.
                // Branches that lose are dropped; they lose nothing, because all are cancel-safe.
                biased;
                () = self.stop.due() => self.end_with(Ending::Stopped),
                receipt = self.receipts.next() => self.receipt_message(receipt),
                // Also how the feed notices that the client has cancelled.
                request = self.requests.next(), if self.receipts.have_room() => {
                    self.apply(request).boxed().await
                }
                // Replayed posts, and new ones that the lane leaves to the feed.
                page = self.reader.next() => self.page_message(page).await,
                () = self.heartbeat.silence() => self.bookmark(false).await,
            };
            match message {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(status) => self.ending = Some(Ending::Status(status)),
            }
        }
        // Boxed: a future contains those that it awaits, and every idle feed would carry its end.
        self.next_of_ending().boxed().await
    }
    // ANCHOR_END: next
}

impl Feed {
    // ANCHOR: apply
    /// Applies a request. An error ends the feed; the request has had no effect then.
    async fn apply(&mut self, request: Option<Result<TagFeedRequest, Status>>) -> NextMessage {
        // `None` is the half-close, `io.EOF` in Go. Errors: a cancelled call, an invalid message.
        let Some(request) = request.transpose()? else {
            return self.end_with(Ending::HalfClosed { head: None });
        };
        let invalid = |field, problem| Err(error::invalid_field(field, problem));
        let (following, reader) = (&mut self.following, &mut self.reader);
        let answer = match request.payload {
            Some(Requested::Join(join)) => Payload::Joined(following.join(join, reader).await?),
            Some(Requested::Leave(leave)) => Payload::Left(following.leave(leave, reader).await?),
            Some(Requested::Publish(PublishPost { post_message: Some(post) })) => {
                self.receipts.publish(post);
                return Ok(None);
            }
            Some(Requested::GetBookmark(_)) => return self.bookmark(false).await,
            Some(Requested::Publish(_)) => return invalid("publish.post_message", "is not set"),
            None => return invalid("payload", "is not set, or not known to this server"),
        };
        Ok(Some(self.message(answer)))
    }
    // ANCHOR_END: apply

    // ANCHOR: next_of_ending
    /// The next message of a feed that ends. However it ends, outstanding receipts come first.
    async fn next_of_ending(&mut self) -> NextMessage {
        if let Some(receipt) = self.receipts.last().await {
            return self.receipt_message(receipt.map(Some));
        }
        match self.ending.take() {
            Some(Ending::HalfClosed { head }) => {
                let head = head.unwrap_or_else(|| self.reader.head());
                self.ending = Some(Ending::HalfClosed { head: Some(head) });
                if !self.stop.is_due()
                    && let Some(page) = self.reader.rest(head).await
                {
                    return self.page_message(page).await;
                }
                // A feed that must stop before the head has not caught up: the client resumes.
                let caught_up = self.reader.is_at(head);
                self.ending =
                    Some(if caught_up { Ending::Done } else { Ending::Status(self.stop.status()) });
                self.bookmark(caught_up).await
            }
            Some(Ending::Stopped) => {
                self.ending = Some(Ending::Status(self.stop.status()));
                self.bookmark(false).await
            }
            Some(Ending::Status(status)) => Err(status),
            Some(Ending::Done) | None => Ok(None),
        }
    }
    // ANCHOR_END: next_of_ending

    fn end_with(&mut self, ending: Ending) -> NextMessage {
        self.ending = Some(ending);
        Ok(None)
    }

    fn receipt_message(&mut self, receipt: Result<Option<Receipt>, Status>) -> NextMessage {
        Ok(receipt?.map(|receipt| self.message(Payload::Receipt(receipt))))
    }

    /// A page without posts means that a bookmark is due.
    async fn page_message(&mut self, page: Result<Page, Status>) -> NextMessage {
        let page = page?;
        if page.posts.is_empty() {
            let caught_up = self.ending.is_none() && self.reader.take_caught_up();
            return self.bookmark(caught_up).await;
        }
        self.heartbeat.beat();
        Ok(Some(FeedMessage::Posts(page)))
    }

    async fn bookmark(&mut self, caught_up: bool) -> NextMessage {
        let position = Some(self.reader.bookmark(caught_up).await?);
        Ok(Some(self.message(Payload::Bookmark(Bookmark { position, caught_up }))))
    }

    fn message(&mut self, payload: Payload) -> FeedMessage {
        self.heartbeat.beat();
        FeedMessage::Other(TagFeedResponse { payload: Some(payload) })
    }
}
