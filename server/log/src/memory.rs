//! The log in memory, for tests and servers without a disk, and the shortest [`PostLog`] to read.
//!
//! Durable means "until the process ends" here.

use std::collections::HashMap;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    error::LogError,
    new_posts::{NewPost, NewPosts},
    post_log::{Appending, Outcome, PostLog, UserPage},
    records::{Block, Limit, Record, Records},
    segment,
};

/// A [`PostLog`] without a disk.
#[derive(Debug)]
pub struct MemoryLog {
    log_id: String,
    head: watch::Sender<u64>,
    posts: RwLock<StoredPosts>,
}

/// All posts, in blocks of what was appended together, and their indexes.
#[derive(Debug, Default)]
struct StoredPosts {
    blocks: Vec<Block>,
    last: u64,
    /// The chain value at the last post.
    chain: u64,
    by_id: HashMap<String, u64>,
    /// Users to their numbers.
    users: HashMap<String, u32>,
    /// Numbers of users to the sequences of their posts.
    by_user: Vec<Vec<u64>>,
}

impl MemoryLog {
    /// An empty log with a random id.
    pub fn new() -> Self {
        let log_id = format!("{:032x}", rand::random::<u128>());
        Self { log_id, head: watch::Sender::new(0), posts: RwLock::default() }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl PostLog for MemoryLog {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError> {
        let (sender, appending) = Appending::new();
        let mut log = self.posts.write();
        let outcomes = log.append(posts);
        // Under the lock, so that heads are published in the order of the appends.
        self.head.send_replace(log.last);
        // The caller may have stopped waiting; the posts are stored all the same.
        let _ = sender.send(Ok(outcomes));
        Ok(appending)
    }

    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError> {
        let (log, mut records) = (self.posts.read(), Records::default());
        let (first, mut start) = log.locate(after.saturating_add(1));
        for block in &log.blocks[first..] {
            if !records.add(block, start, limit) {
                break;
            }
            start = 0;
        }
        Ok(records)
    }

    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        let log = self.posts.read();
        let number = log.users.get(user_id);
        let sequences = number.map_or(&[][..], |number| &log.by_user[*number as usize]);
        let start = sequences.partition_point(|sequence| *sequence <= after);
        let records = limit.take(sequences[start..].iter().map(|n| log.get(*n).clone()));
        Ok(UserPage::new(records, sequences.len() - start, log.last))
    }

    async fn close(&self) -> Result<(), LogError> {
        Ok(()) // There is no task to end.
    }
}

impl StoredPosts {
    fn append(&mut self, posts: NewPosts) -> Vec<Outcome> {
        let mut block = Vec::with_capacity(posts.len());
        let outcomes = posts.into_iter().map(|post| self.append_one(post, &mut block)).collect();
        if !block.is_empty() {
            self.blocks.push(block.into());
        }
        outcomes
    }

    /// Adds a post to the block of this append, unless its id is taken.
    fn append_one(&mut self, post: NewPost, block: &mut Vec<Record>) -> Outcome {
        if let Some(sequence) = self.by_id.get(post.post_id()) {
            let before = self.last - block.len() as u64;
            let original = match sequence.checked_sub(before + 1) {
                Some(at) => &block[at as usize],
                None => self.get(*sequence),
            };
            return match post.same_content(&original.post) {
                true => Outcome::Duplicate(*sequence),
                false => Outcome::IdTaken,
            };
        }
        self.last += 1;
        let user = self.number(post.user_id());
        let post_bytes = post.stored().clone();
        self.chain = segment::chain(self.chain, segment::post_checksum(&post_bytes));
        let record = Record { sequence: self.last, user, chain: self.chain, post: post_bytes };
        block.push(record);
        self.by_id.insert(post.post_id().to_owned(), self.last);
        self.by_user[user as usize].push(self.last);
        Outcome::Created(self.last)
    }

    /// The number of a user; a new user gets the next one.
    fn number(&mut self, user_id: &str) -> u32 {
        if let Some(number) = self.users.get(user_id) {
            return *number;
        }
        let number = self.by_user.len() as u32;
        self.users.insert(user_id.to_owned(), number);
        self.by_user.push(Vec::new());
        number
    }

    fn get(&self, sequence: u64) -> &Record {
        let (block, at) = self.locate(sequence);
        &self.blocks[block][at]
    }

    /// The index of the block that holds a post, and the post's index in it. Past the last block if
    /// there is no such post.
    fn locate(&self, sequence: u64) -> (usize, usize) {
        let ends_before = |block: &Block| block.last().is_none_or(|last| last.sequence < sequence);
        let at = self.blocks.partition_point(ends_before);
        let first = self.blocks.get(at).map_or(sequence, |block| block[0].sequence);
        (at, (sequence - first) as usize)
    }
}
