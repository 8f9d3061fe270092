//! The durable posts of a log on disk: what its writer publishes and its readers read.
//!
//! One lock guards the index and the newest posts. It is never held during a disk operation.

use std::{fmt, iter, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;
use quartet::encoded::PostView;
use tokio::sync::watch;

use super::{
    blocks::{BlockCache, FileCache},
    index::{Index, Run},
    metrics::{LogMetrics, ReadSource},
    pending::PendingPosts,
    ring::{Ring, RingLimits},
    runs::{self, ReadAt},
};
use crate::{
    disk::{self, Disk, DiskFile},
    error::LogError,
    post_log::UserPage,
    records::{Block, Limit, Record, Records},
    segment,
};

/// What the writer and the readers of a log share.
pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    posts: RwLock<DurablePosts>,
    blocks: BlockCache,
    files: FileCache,
    pub(super) head: watch::Sender<u64>,
    /// Why no more posts are taken, once a write has failed.
    pub(super) failure: watch::Sender<Option<LogError>>,
    pub(super) metrics: Arc<dyn LogMetrics>,
}

/// Where the durable posts are: all of them on disk, the newest in memory too.
struct DurablePosts {
    index: Index,
    ring: Ring,
}

/// Where the posts of a read are.
#[derive(Debug)]
enum Found {
    InMemory(Vec<Record>),
    OnDisk(Vec<Run>),
}

impl fmt::Debug for Store {
    /// Leaves out what grows with the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk, posts: _, blocks, files: _, head, failure, metrics: _ } = self;
        let (head, failure) = (&*head.borrow(), &*failure.borrow());
        f.debug_struct("Store")
            .field("disk", disk)
            .field("blocks", blocks)
            .field("head", head)
            .field("failure", failure)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The posts that recovery found on this disk.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        index: Index,
        ring: RingLimits,
        metrics: Arc<dyn LogMetrics>,
    ) -> Self {
        let head = index.last();
        let posts = RwLock::new(DurablePosts { index, ring: Ring::new(head + 1, ring) });
        let (head, failure) = (watch::Sender::new(head), watch::Sender::new(None));
        let (blocks, files) = (BlockCache::default(), FileCache::default());
        Self { disk, posts, blocks, files, head, failure, metrics }
    }

    /// The newest durable sequence.
    pub(super) fn last(&self) -> u64 {
        *self.head.borrow()
    }

    /// Publishes posts that are durable. They were written to the segment that starts with sequence
    /// `base`; each append comes with the offset of its buffer in that file.
    pub(super) fn publish(&self, base: u64, appends: Vec<(u64, PendingPosts)>) {
        let mut posts = self.posts.write();
        for (start, append) in appends {
            let (bytes, spans) = append.share();
            // Two loops: the user table is often not in the cache, and a loop that also changes the
            // reference count would wait for each lookup.
            for span in &spans {
                let user_id = PostView(&bytes[span.post()]).user_id();
                let record = span.record();
                let place = start + record.start as u64..start + record.end as u64;
                posts.index.push(base, place, user_id);
            }
            for span in &spans {
                let chain = segment::chain_of(&bytes[span.record()]);
                posts.ring.push(bytes.slice(span.post()), chain);
            }
        }
        // Under the lock, so that a reader who finds a post also finds a head that counts it.
        self.head.send_replace(posts.index.last());
    }

    /// Reads posts after a sequence. What precedes an error is returned first; the next read meets
    /// the error.
    pub(super) async fn read(
        self: &Arc<Self>,
        after: u64,
        limit: Limit,
    ) -> Result<Records, LogError> {
        let mut records = Records::default();
        loop {
            let next = records.last().map_or(after, |last| last.sequence).saturating_add(1);
            match self.read_from(next, limit).await {
                // A block may end before the limit is reached.
                Ok((block, start)) if start < block.len() && records.add(&block, start, limit) => {}
                Err(error) if records.is_empty() => return Err(error),
                _ => return Ok(records),
            }
        }
    }

    /// Posts from a sequence on, and the index of the first one in them: those in memory, or the
    /// block that holds it. Empty if the sequence is past the head.
    async fn read_from(
        self: &Arc<Self>,
        first: u64,
        limit: Limit,
    ) -> Result<(Block, usize), LogError> {
        let newest = self.posts.read().newest(first, limit);
        if let Some(records) = newest {
            self.metrics.read(ReadSource::Ring);
            return Ok((records.into(), 0));
        }
        let posts = self.posts.read().index.block(first);
        let skipped = (first - posts.start()) as usize;
        let mut source = ReadSource::Block;
        let load = async {
            source = ReadSource::Disk;
            self.load(posts.clone()).await
        };
        let block = self.blocks.get(posts.clone(), load).await;
        self.metrics.read(source);
        match block {
            Ok(block) => Ok((block, skipped)),
            // The whole records of a damaged block can still be read one by one.
            Err(LogError::Damaged { .. }) => {
                let found = self.posts.read().on_disk(first, limit);
                Ok((self.fetch(found).await?.into(), 0))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a block: in place if the page cache holds it, else on a thread that may wait for the
    /// disk.
    async fn load(self: &Arc<Self>, posts: RangeInclusive<u64>) -> Result<Block, LogError> {
        const CACHED: ReadAt = <dyn DiskFile>::read_cached_at;
        let all = Limit { posts: usize::MAX, bytes: usize::MAX };
        let run = self.posts.read().index.runs(posts, all).remove(0); // a block is one run
        if let Some(file) = self.files.get(run.base)
            && let Ok(records) = runs::read_run(&*file, &run, CACHED)
        {
            return Ok(records.into());
        }
        let store = self.clone();
        let read = move || {
            let file = runs::open_segment(&*store.disk, run.base)?;
            let records = runs::read_run(&*file, &run, <dyn DiskFile>::read_exact_at)?;
            store.files.keep(run.base, file);
            Ok(records.into())
        };
        disk::run(&*self.disk, read).await
    }

    /// Reads posts of one user after a sequence.
    pub(super) async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        let (found, matching, head) = {
            let posts = self.posts.read();
            let sequences = posts.index.of_user(user_id, after);
            let found = posts.find(sequences.iter().map(|n| u64::from(*n)), limit);
            (found, sequences.len(), posts.index.last())
        };
        Ok(UserPage::new(self.fetch(found).await?, matching, head))
    }

    async fn fetch(&self, found: Found) -> Result<Vec<Record>, LogError> {
        match found {
            Found::InMemory(records) => {
                self.metrics.read(ReadSource::Ring);
                Ok(records)
            }
            Found::OnDisk(runs) => {
                self.metrics.read(ReadSource::Disk);
                let disk = self.disk.clone();
                disk::run(&*self.disk, move || runs::read_runs(&*disk, &runs)).await
            }
        }
    }

    /// Reads one stored post. Blocks the thread.
    pub(super) fn read_one(&self, sequence: u64) -> Result<Bytes, LogError> {
        let limit = Limit { posts: 1, bytes: usize::MAX };
        let found = self.posts.read().find(iter::once(sequence), limit);
        let mut records = match found {
            Found::InMemory(records) => records,
            Found::OnDisk(runs) => runs::read_runs(&*self.disk, &runs)?,
        };
        Ok(records.remove(0).post)
    }
}

impl DurablePosts {
    /// Posts from a sequence on, if they are in memory; none if the sequence is past the head.
    fn newest(&self, first: u64, limit: Limit) -> Option<Vec<Record>> {
        let last = self.index.last();
        let in_memory = first > last || self.ring.holds(first);
        in_memory.then(|| limit.take((first..=last).map(|sequence| self.record(sequence))))
    }

    /// A post that the ring holds.
    fn record(&self, sequence: u64) -> Record {
        let (post, chain) = self.ring.get(sequence).clone();
        Record { sequence, user: self.index.user(sequence), chain, post }
    }

    /// Where posts from a sequence on stand on disk.
    fn on_disk(&self, first: u64, limit: Limit) -> Found {
        Found::OnDisk(self.index.runs(first..=self.index.last(), limit))
    }

    /// Finds posts by their sequences, which are in order: all in memory if the first one is, else
    /// all on disk.
    fn find(&self, sequences: impl Iterator<Item = u64>, limit: Limit) -> Found {
        let mut sequences = sequences.peekable();
        match sequences.peek() {
            Some(first) if !self.ring.holds(*first) => {
                Found::OnDisk(self.index.runs(sequences, limit))
            }
            _ => Found::InMemory(limit.take(sequences.map(|sequence| self.record(sequence)))),
        }
    }
}
