//! What a tutorial server stores.

use std::{collections::HashMap, pin::Pin};

use tokio_stream::Stream;
use tonic::Status;

use crate::{
    posts::{self, USERS},
    proto::PostMessage,
};

/// A stream of responses, as the generated trait wants it.
pub(super) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What was uploaded last, and who the users are.
#[derive(Debug, Default)]
pub(super) struct Stored {
    posts: Vec<PostMessage>,
    pub(super) by_user: HashMap<String, Vec<usize>>,
    names: HashMap<String, String>,
}

impl Stored {
    pub(super) fn new(posts: Vec<PostMessage>) -> Self {
        let mut by_user: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, post) in posts.iter().enumerate() {
            by_user.entry(post.user_id.clone()).or_default().push(index);
        }
        let ids = (0..USERS).map(posts::user_id);
        let names = ids.map(|id| (id.clone(), posts::author(&id))).collect();
        Self { posts, by_user, names }
    }

    pub(super) fn len(&self) -> usize {
        self.posts.len()
    }

    /// A post with its author.
    pub(super) fn post(&self, index: usize) -> PostMessage {
        let mut post = self.posts[index].clone();
        post.sequence = index as i64 + 1;
        self.with_author(post)
    }

    pub(super) fn with_author(&self, mut post: PostMessage) -> PostMessage {
        post.author = self.names.get(&post.user_id).cloned().unwrap_or_default();
        post
    }
}
