//! Three ways to write a server-streaming call with tonic and prost.

use std::sync::Arc;

use async_stream::try_stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::stored::{Responses, Stored};
use crate::proto::{ListPostsResponse, PostMessage};

/// Posts in a message of the batched list: as many as ours.
const BATCH: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(super) enum Style {
    /// A stream that yields one post per message.
    AsyncStream,
    /// The same with a batch per message.
    Batched,
    /// A spawned task that sends one post per message through a channel of four: what most
    /// tutorials show.
    Mpsc4,
}

impl Style {
    pub(super) fn list(self, stored: Arc<Stored>) -> Responses<ListPostsResponse> {
        match self {
            Style::AsyncStream => Box::pin(try_stream! {
                for index in 0..stored.len() {
                    yield response(vec![stored.post(index)]);
                }
            }),
            Style::Batched => Box::pin(try_stream! {
                for start in (0..stored.len()).step_by(BATCH) {
                    let end = stored.len().min(start + BATCH);
                    yield response((start..end).map(|index| stored.post(index)).collect());
                }
            }),
            Style::Mpsc4 => spawned(stored),
        }
    }
}

#[allow(clippy::disallowed_methods)] // a detached task: that is what this peer is about
fn spawned(stored: Arc<Stored>) -> Responses<ListPostsResponse> {
    let (sender, receiver) = mpsc::channel::<Result<ListPostsResponse, Status>>(4);
    tokio::spawn(async move {
        for index in 0..stored.len() {
            if sender.send(Ok(response(vec![stored.post(index)]))).await.is_err() {
                return; // the client hung up
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

fn response(post_messages: Vec<PostMessage>) -> ListPostsResponse {
    ListPostsResponse { post_messages, ..ListPostsResponse::default() }
}
