//! A bidirectional call over `tokio::sync::broadcast`: every subscriber clones and encodes every
//! post.

use std::{collections::HashSet, future::pending, sync::Arc};

use async_stream::try_stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::stored::Stored;
use crate::proto::{
    Joined, PostBatch, PostMessage, Receipt, TagFeedRequest, TagFeedResponse,
    tag_feed_request::Payload as Asked, tag_feed_response::Payload,
};

/// What comes first.
enum Event {
    Request(Option<TagFeedRequest>),
    Post(PostMessage),
    /// The channel overwrote posts that this subscriber had not read. A tutorial goes on; the load
    /// counts them.
    Lagged,
}

pub(super) fn tag_feed(
    stored: Arc<Stored>,
    feed: broadcast::Sender<PostMessage>,
    mut requests: Streaming<TagFeedRequest>,
) -> impl Stream<Item = Result<TagFeedResponse, Status>> {
    try_stream! {
        let mut tags = HashSet::new();
        let mut posts = None;
        loop {
            match event(&mut requests, &mut posts).await? {
                Event::Request(None) => break,
                Event::Request(Some(request)) => match request.payload {
                    Some(Asked::Join(join)) => {
                        posts.get_or_insert_with(|| feed.subscribe());
                        tags.extend(join.tags.clone());
                        let joined = Joined { tags: join.tags, ..Joined::default() };
                        yield response(Payload::Joined(joined));
                    }
                    Some(Asked::Publish(publish)) => {
                        let post = publish.post_message.unwrap_or_default();
                        let post_id = post.post_id.clone();
                        // Nobody listening is no mistake.
                        let _ = feed.send(stored.with_author(post));
                        yield response(Payload::Receipt(Receipt { post_id, ..Receipt::default() }));
                    }
                    _ => Err(Status::invalid_argument("join and publish only"))?,
                },
                Event::Post(post) => {
                    if post.tags.iter().any(|tag| tags.contains(tag)) {
                        let batch = PostBatch { post_messages: vec![post], position: None };
                        yield response(Payload::Posts(batch));
                    }
                }
                Event::Lagged => {}
            }
        }
    }
}

async fn event(
    requests: &mut Streaming<TagFeedRequest>,
    posts: &mut Option<broadcast::Receiver<PostMessage>>,
) -> Result<Event, Status> {
    tokio::select! {
        // Cancel-safe, both: a message half-read stays in the stream, a post in the channel.
        request = requests.message() => Ok(Event::Request(request?)),
        post = next(posts) => match post {
            Ok(post) => Ok(Event::Post(post)),
            Err(RecvError::Lagged(_)) => Ok(Event::Lagged),
            Err(RecvError::Closed) => Err(Status::unavailable("the server ends")),
        },
    }
}

/// Before the first join there is nothing to wait for.
async fn next(
    posts: &mut Option<broadcast::Receiver<PostMessage>>,
) -> Result<PostMessage, RecvError> {
    match posts {
        Some(posts) => posts.recv().await,
        None => pending().await,
    }
}

fn response(payload: Payload) -> TagFeedResponse {
    TagFeedResponse { payload: Some(payload) }
}
