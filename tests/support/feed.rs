//! One feed, step by step.

use quartet::post::v1::{
    Bookmark, JoinTags, Joined, LeaveTags, LogPosition, PostBatch, PostMessage, PublishPost,
    Receipt, TagFeedRequest, TagFeedResponse, tag_feed_request::Payload as Asked,
    tag_feed_response::Payload,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    calls::{Client, strings},
    order::Received,
    wait::soon,
};

/// Requests that wait in the client before a send waits.
const REQUESTS: usize = 8;

/// A feed that is open. It keeps what it received.
pub struct Feed {
    requests: Option<mpsc::Sender<TagFeedRequest>>,
    responses: Streaming<TagFeedResponse>,
    pub events: Vec<Payload>,
}

impl Feed {
    pub async fn open(client: &mut Client) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let responses = soon(client.tag_feed(ReceiverStream::new(receiver))).await.unwrap();
        Self { requests: Some(requests), responses: responses.into_inner(), events: Vec::new() }
    }

    /// A feed that has joined these tags, from now on, and has caught up.
    pub async fn joined_to(client: &mut Client, tags: &[&str]) -> Self {
        let mut feed = Self::open(client).await;
        feed.join(tags).await;
        feed.joined().await;
        assert!(feed.bookmark().await.caught_up);
        feed
    }

    /// Sends a request; waits while the server does not read.
    pub async fn send(&self, payload: Asked) {
        self.send_raw(TagFeedRequest { payload: Some(payload) }).await;
    }

    pub async fn send_raw(&self, request: TagFeedRequest) {
        let requests = self.requests.as_ref().expect("the feed is not half-closed");
        soon(requests.send(request)).await.expect("the feed is open");
    }

    pub async fn join(&self, tags: &[&str]) {
        self.send(join(tags)).await;
    }

    pub async fn join_after(&self, tags: &[&str], position: LogPosition) {
        let tags = strings(tags);
        let join = JoinTags { tags, resume_after: Some(position), ..JoinTags::default() };
        self.send(Asked::Join(join)).await;
    }

    pub async fn join_all_from_oldest(&self) {
        let join = JoinTags { all_tags: true, from_oldest: true, ..JoinTags::default() };
        self.send(Asked::Join(join)).await;
    }

    pub async fn leave(&self, tags: &[&str]) {
        self.send(leave(tags)).await;
    }

    pub async fn publish(&self, post: PostMessage) {
        self.send(publish(post)).await;
    }

    /// The client sends no more.
    pub fn half_close(&mut self) {
        self.requests = None;
    }

    /// The next event, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Payload>, Status> {
        let message = soon(self.responses.message()).await?;
        let event = message.map(|message| message.payload.expect("the server knows its payloads"));
        self.events.extend(event.clone());
        Ok(event)
    }

    /// The next event of a feed that goes on.
    pub async fn event(&mut self) -> Payload {
        self.next().await.unwrap().expect("the feed goes on")
    }

    pub async fn joined(&mut self) -> Joined {
        match self.event().await {
            Payload::Joined(joined) => joined,
            other => panic!("Joined was due: {other:?}"),
        }
    }

    pub async fn posts(&mut self) -> PostBatch {
        match self.event().await {
            Payload::Posts(posts) => posts,
            other => panic!("posts were due: {other:?}"),
        }
    }

    pub async fn bookmark(&mut self) -> Bookmark {
        match self.event().await {
            Payload::Bookmark(bookmark) => bookmark,
            other => panic!("a bookmark was due: {other:?}"),
        }
    }

    /// The next receipt; posts may come before it, as their order is not promised.
    pub async fn receipt(&mut self) -> Receipt {
        loop {
            match self.event().await {
                Payload::Receipt(receipt) => return receipt,
                Payload::Posts(_) | Payload::Bookmark(_) => {}
                other => panic!("a receipt was due: {other:?}"),
            }
        }
    }

    /// Reads until a post with this id came.
    pub async fn until_post(&mut self, post_id: &str) {
        loop {
            if let Payload::Posts(batch) = self.event().await
                && batch.post_messages.iter().any(|post| post.post_id == post_id)
            {
                return;
            }
        }
    }

    /// Reads to the end of the feed and says how it ended.
    pub async fn until_end(&mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// All receipts so far.
    pub fn receipts(&self) -> Vec<&Receipt> {
        let receipts = self.events.iter().filter_map(|event| match event {
            Payload::Receipt(receipt) => Some(receipt),
            _ => None,
        });
        receipts.collect()
    }

    /// All bookmarks so far.
    pub fn bookmarks(&self) -> Vec<&Bookmark> {
        let bookmarks = self.events.iter().filter_map(|event| match event {
            Payload::Bookmark(bookmark) => Some(bookmark),
            _ => None,
        });
        bookmarks.collect()
    }

    /// What came so far, for the order checker.
    pub fn received(&self) -> Received {
        Received::feed(&self.events)
    }
}

pub fn join(tags: &[&str]) -> Asked {
    Asked::Join(JoinTags { tags: strings(tags), ..JoinTags::default() })
}

pub fn join_all() -> Asked {
    Asked::Join(JoinTags { all_tags: true, ..JoinTags::default() })
}

pub fn leave(tags: &[&str]) -> Asked {
    Asked::Leave(LeaveTags { tags: strings(tags), all_tags: false })
}

pub fn leave_all() -> Asked {
    Asked::Leave(LeaveTags { tags: Vec::new(), all_tags: true })
}

pub fn publish(post: PostMessage) -> Asked {
    Asked::Publish(PublishPost { post_message: Some(post) })
}
