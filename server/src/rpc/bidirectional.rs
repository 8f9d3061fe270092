//! Bidirectional streaming: a stream of requests and, independently, a stream of responses.
//!
//! A feed joins tags to receive their posts, and publishes posts. It is one loop over five events:
//! the server stops, a receipt is ready, a request arrives, posts are available, or the feed was
//! idle. HTTP/2 polls it only while the client reads, so it blocks no other client.

use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
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
        feed_reader::FeedReader,
        following::Following,
        heartbeat::Heartbeat,
        messages::{FeedMessages, respond},
        receipts::Receipts,
        store::PostStore,
    },
};

// ANCHOR: tag_feed
/// The response begins before a request is read: a client may wait for it before it sends one.
pub(super) fn tag_feed(
    posts: &PostStore,
    request: Request<Streaming<TagFeedRequest>>,
) -> Response<BoxStream<'static, Result<FeedMessage, Status>>> {
    let (reader, lane) = FeedReader::new(posts);
    let feed = Feed {
        stop: Stop::of(request.extensions()),
        receipts: Receipts::new(posts, Caller::of(request.extensions())),
        requests: request.into_inner(),
        posts: posts.clone(),
        following: Following::default(),
        heartbeat: reader.heartbeat(),
        reader,
        ending: None,
    };
    // While the feed waits, the connection sends its posts without waking it: on the lane.
    respond(feed, lane)
}

struct Feed {
    posts: PostStore,
    requests: Streaming<TagFeedRequest>,
    /// Signals that the feed must end.
    stop: Stop,
    following: Following,
    reader: FeedReader,
    /// Outstanding receipts, in publish order.
    receipts: Receipts,
    heartbeat: Heartbeat,
    /// Set once the feed ends.
    ending: Option<Ending>,
}

/// How a feed ends, and which messages it still sends. Outstanding receipts always come first.
enum Ending {
    /// The client half-closed: posts up to the head at that time, then a bookmark.
    HalfClosed { head: Option<u64> },
    /// The server stops, or the connection must end: a bookmark, then the status.
    Stopped,
    /// A request was refused, or the feed failed: the status.
    Failed(Status),
    /// Nothing is left to send: OK.
    Done,
}
// ANCHOR_END: tag_feed

impl FeedMessages for Feed {
    // ANCHOR: next
    /// The next message to the client; `None` after the last.
    async fn next(&mut self) -> Result<Option<FeedMessage>, Status> {
        while self.ending.is_none() {
            if self.reader.has_caught_up() {
                return self.bookmark(true).await.map(Some);
            }
            let message = tokio::select! {
                // In this order, so that no branch starves: posts can arrive without end, and
                // requests pause at 64 outstanding receipts. All branches are cancel-safe.
                biased;
                () = self.stop.due() => self.end_with(Ending::Stopped),
                receipt = self.receipts.next() => {
                    receipt.map(|next| Some(self.send(Payload::Receipt(next?))))
                }
                request = self.requests.next(), if self.receipts.have_room() => {
                    self.receive(request).boxed().await
                }
                page = self.reader.next() => self.send_page(page).await.map(Some),
                () = self.heartbeat.silence() => self.bookmark(false).await.map(Some),
            };
            match message {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(status) => self.ending = Some(Ending::Failed(status)),
            }
        }
        // Boxed: a waiting feed reserves no space for its end.
        self.last_words().boxed().await
    }
    // ANCHOR_END: next
}

impl Feed {
    // ANCHOR: receive
    /// Applies a request. After an error, the caller's mistake, nothing has changed.
    async fn receive(
        &mut self,
        request: Option<Result<TagFeedRequest, Status>>,
    ) -> Result<Option<FeedMessage>, Status> {
        let Some(request) = request.transpose()? else {
            return self.end_with(Ending::HalfClosed { head: None });
        };
        let invalid = |field, problem| Err(error::invalid_field(field, problem));
        let answer = match request.payload {
            Some(Requested::Join(join)) => {
                Payload::Joined(self.following.join(join, &self.posts, &mut self.reader).await?)
            }
            Some(Requested::Leave(leave)) => {
                Payload::Left(self.following.leave(leave, &mut self.reader).await?)
            }
            Some(Requested::Publish(PublishPost { post_message: Some(post) })) => {
                self.receipts.publish(post);
                return Ok(None);
            }
            Some(Requested::Publish(_)) => return invalid("publish.post_message", "is not set"),
            None => return invalid("payload", "is not set, or not known to this server"),
        };
        Ok(Some(self.send(answer)))
    }
    // ANCHOR_END: receive

    // ANCHOR: last_words
    /// The next message of a feed that ends. However it ends, outstanding receipts come first.
    async fn last_words(&mut self) -> Result<Option<FeedMessage>, Status> {
        if let Some(receipt) = self.receipts.last().await {
            return Ok(Some(self.send(Payload::Receipt(receipt?))));
        }
        match self.ending.take() {
            // No request will follow: send posts up to the present head, then a bookmark.
            Some(Ending::HalfClosed { head }) => {
                let head = head.unwrap_or_else(|| self.reader.head());
                if !self.stop.is_due()
                    && let Some(page) = self.reader.rest(head).await
                {
                    self.ending = Some(Ending::HalfClosed { head: Some(head) });
                    return self.send_page(page).await.map(Some);
                }
                // A feed that must stop before the head is not complete: the client resumes.
                let complete = self.reader.is_at(head);
                self.ending =
                    Some(if complete { Ending::Done } else { Ending::Failed(self.stop.status()) });
                self.bookmark(complete).await.map(Some)
            }
            Some(Ending::Stopped) => {
                self.ending = Some(Ending::Failed(self.stop.status()));
                self.bookmark(false).await.map(Some)
            }
            Some(Ending::Failed(status)) => Err(status),
            Some(Ending::Done) | None => Ok(None),
        }
    }
    // ANCHOR_END: last_words

    fn end_with(&mut self, ending: Ending) -> Result<Option<FeedMessage>, Status> {
        self.ending = Some(ending);
        Ok(None)
    }

    /// A page without posts means that a bookmark is due.
    async fn send_page(&mut self, page: Result<Page, Status>) -> Result<FeedMessage, Status> {
        let page = page?;
        if page.posts.is_empty() {
            let caught_up = self.ending.is_none() && self.reader.has_caught_up();
            return self.bookmark(caught_up).await;
        }
        self.heartbeat.beat();
        Ok(FeedMessage::Posts(page))
    }

    async fn bookmark(&mut self, caught_up: bool) -> Result<FeedMessage, Status> {
        let position = Some(self.reader.bookmark(caught_up).await?);
        Ok(self.send(Payload::Bookmark(Bookmark { position, caught_up })))
    }

    fn send(&mut self, payload: Payload) -> FeedMessage {
        self.heartbeat.beat();
        FeedMessage::Other(TagFeedResponse { payload: Some(payload) })
    }
}
