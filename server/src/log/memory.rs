//! The log in memory: what `--ephemeral` and most tests use, and the shortest answer to "what is a [`PostLog`]?".
//!
//! Durable here means "until the process ends".

use std::collections::HashMap;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    Appending, Limit, LogError, NewPost, Outcome, PostLog, Record, UserPage, gather, new_log_id,
};

/// A [`PostLog`] without a disk.
#[derive(Debug)]
pub struct MemoryLog {
    log_id: String,
    head: watch::Sender<u64>,
    posts: RwLock<Posts>,
}

/// A post of sequence `n` stands at `records[n - 1]`.
#[derive(Debug, Default)]
struct Posts {
    records: Vec<Record>,
    by_id: HashMap<String, u64>,
    by_user: HashMap<String, Vec<u64>>,
}

impl MemoryLog {
    /// An empty log with an id of its own.
    pub fn new() -> Self {
        Self { log_id: new_log_id(), head: watch::Sender::new(0), posts: RwLock::default() }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl PostLog for MemoryLog {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    async fn append(&self, mut posts: Vec<NewPost>) -> Result<Appending, LogError> {
        gather(&mut posts);
        let (promise, appending) = Appending::new();
        let mut log = self.posts.write();
        let outcomes = posts.into_iter().map(|post| log.append(post)).collect();
        // Under the lock: heads are published in the order of the appends.
        self.head.send_replace(log.records.len() as u64);
        // Nobody may be waiting any more; the posts are stored all the same.
        let _ = promise.send(Ok(outcomes));
        Ok(appending)
    }

    async fn read(&self, after: u64, limit: Limit) -> Result<Vec<Record>, LogError> {
        let log = self.posts.read();
        let start = (after as usize).min(log.records.len());
        Ok(limit.take(log.records[start..].iter().cloned()))
    }

    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        let log = self.posts.read();
        let sequences = log.by_user.get(user_id).map(Vec::as_slice).unwrap_or_default();
        let start = sequences.partition_point(|sequence| *sequence <= after);
        let records =
            limit.take(sequences[start..].iter().map(|n| log.records[*n as usize - 1].clone()));
        Ok(UserPage::new(records, sequences.len() - start, log.records.len() as u64))
    }

    async fn close(&self) -> Result<(), LogError> {
        Ok(()) // Nothing runs on behalf of memory.
    }
}

impl Posts {
    fn append(&mut self, post: NewPost) -> Outcome {
        if let Some(sequence) = self.by_id.get(post.post_id()) {
            let original = &self.records[*sequence as usize - 1];
            return match post.same_content(&original.post) {
                true => Outcome::Duplicate(*sequence),
                false => Outcome::IdTaken,
            };
        }
        let sequence = self.records.len() as u64 + 1;
        self.records.push(Record { sequence, post: post.stored().clone() });
        self.by_id.insert(post.post_id().to_owned(), sequence);
        self.by_user.entry(post.user_id().to_owned()).or_default().push(sequence);
        Outcome::Created(sequence)
    }
}
