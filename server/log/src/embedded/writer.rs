//! The one task that writes: it takes queued appends, stores them with one fsync, and answers them.
//!
//! While the disk works the next appends gather, so that many callers share an fsync; while nothing
//! is queued, an append is written at once. The first failure is final: it is unknown what a failed
//! fsync left behind, so that commit and everything after it is refused until the log is opened
//! again.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    index::{Ids, MAX_POSTS},
    pending::PendingPosts,
    recovery::Tail,
    store::Store,
};
use crate::{
    disk::{self, LockGuard},
    error::LogError,
    post_log::{APPEND_BYTES, APPEND_POSTS, Outcome},
    segment::{self, BATCH_HEADER_LEN, BatchHeader, Identity, SegmentStart},
};

/// Most posts in one commit. At 330 B each they are a write of 1.4 MiB, near the disk's full rate.
const COMMIT_POSTS: usize = 4096;
/// Most bytes in one commit.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// An append that waits for the writer.
#[derive(Debug)]
pub(super) struct QueuedAppend {
    pub(super) posts: PendingPosts,
    pub(super) ticket: Ticket,
}

/// The caller of an append, and the room that its posts take until it is answered.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) outcomes: oneshot::Sender<Result<Vec<Outcome>, LogError>>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Ticket {
    fn answer(self, outcome: Result<Vec<Outcome>, LogError>) {
        // The caller may have stopped waiting; its posts are stored all the same.
        let _ = self.outcomes.send(outcome);
    }
}

/// The state of the writer.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) identity: Identity,
    pub(super) ids: Ids,
    pub(super) tail: Tail,
    /// The chain value at the newest post.
    pub(super) chain: u64,
    pub(super) segment_bytes: u64,
    /// Released when the writer ends.
    pub(super) _lock: Option<LockGuard>,
}

/// Writes until the queue is closed and empty, or all its senders are dropped.
pub(super) async fn run(
    mut writer: Writer,
    mut queue: mpsc::Receiver<QueuedAppend>,
    closing: CancellationToken,
) {
    let failure = loop {
        let Some(first) = next(&mut queue, &closing).await else { return };
        match writer.commit(group(first, &mut queue)).await {
            Ok(same) => writer = same,
            Err(failure) => break failure,
        }
    };
    while let Some(append) = next(&mut queue, &closing).await {
        append.ticket.answer(Err(failure.clone()));
    }
}

/// The next append, until the queue is closed and empty.
async fn next(
    queue: &mut mpsc::Receiver<QueuedAppend>,
    closing: &CancellationToken,
) -> Option<QueuedAppend> {
    tokio::select! {
        biased;
        // First, or a busy log would never close. Queued appends are still written.
        () = closing.cancelled() => {
            queue.close();
            queue.recv().await
        }
        append = queue.recv() => append,
    }
}

/// The first append and those queued behind it, as long as an append of any size would fit.
fn group(first: QueuedAppend, queue: &mut mpsc::Receiver<QueuedAppend>) -> Vec<QueuedAppend> {
    let (mut posts, mut bytes) = (first.posts.len(), first.posts.size());
    let mut group = vec![first];
    while posts + APPEND_POSTS <= COMMIT_POSTS && bytes + APPEND_BYTES <= COMMIT_BYTES {
        let Ok(append) = queue.try_recv() else { break };
        posts += append.posts.len();
        bytes += append.posts.size();
        group.push(append);
    }
    group
}

impl Writer {
    /// Stores a group of appends and answers them. A failure consumes the writer.
    async fn commit(mut self, group: Vec<QueuedAppend>) -> Result<Self, LogError> {
        let store = self.store.clone();
        let (appends, tickets): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| (append.posts, append.ticket)).unzip();
        let stored: Result<_, LogError> = disk::run(&*store.disk, move || {
            let outcomes = self.store(appends)?;
            Ok((self, outcomes))
        })
        .await;
        match stored {
            Ok((writer, outcomes)) => {
                tickets
                    .into_iter()
                    .zip(outcomes)
                    .for_each(|(ticket, outcomes)| ticket.answer(Ok(outcomes)));
                Ok(writer)
            }
            Err(failure) => {
                tracing::error!(%failure, "the log takes no more posts");
                store.failure.send_replace(Some(failure.clone()));
                tickets.into_iter().for_each(|ticket| ticket.answer(Err(failure.clone())));
                Err(failure)
            }
        }
    }

    /// Stores the posts of these appends that are new, durably, and publishes them.
    fn store(&mut self, mut appends: Vec<PendingPosts>) -> Result<Vec<Vec<Outcome>>, LogError> {
        let first = self.store.last() + 1;
        let mut outcomes = Vec::with_capacity(appends.len());
        let (mut next, mut chain) = (first, self.chain);
        for n in 0..appends.len() {
            let (before, rest) = appends.split_at_mut(n);
            let append = &mut rest[0];
            append.begin(next, chain);
            outcomes.push(self.assign(before, append)?);
            (next, chain) = (append.next(), append.chain());
        }
        if next > first {
            self.write(first, (next - first) as u32, appends)?;
            self.chain = chain;
        }
        Ok(outcomes)
    }

    /// Assigns sequences to the new posts of an append, after those of the appends before it in
    /// this commit.
    fn assign(
        &mut self,
        before: &[PendingPosts],
        append: &mut PendingPosts,
    ) -> Result<Vec<Outcome>, LogError> {
        let mut outcomes = Vec::with_capacity(append.len());
        for n in 0..append.len() {
            let outcome = match self.find_original(before, append, n)? {
                Some(outcome) => outcome,
                None if append.next() > MAX_POSTS => {
                    return Err(io::Error::from(io::ErrorKind::StorageFull).into());
                }
                None => {
                    let id = append.id(n);
                    let sequence = append.keep(n);
                    self.ids.insert(id, sequence);
                    Outcome::Created(sequence)
                }
            };
            outcomes.push(outcome);
        }
        append.finish();
        Ok(outcomes)
    }

    /// The outcome of the `n`th post if its id is taken.
    fn find_original(
        &self,
        before: &[PendingPosts],
        append: &PendingPosts,
        n: usize,
    ) -> Result<Option<Outcome>, LogError> {
        for sequence in self.ids.candidates(append.id(n)) {
            // In this commit, or stored earlier.
            let in_commit = before.iter().chain([append]).find_map(|posts| posts.find(sequence));
            let original = match in_commit {
                Some(post) => Bytes::copy_from_slice(post),
                None => self.store.read_one(sequence)?,
            };
            if append.has_id_of(n, &original) {
                return Ok(Some(match append.same_content(n, &original) {
                    true => Outcome::Duplicate(sequence),
                    false => Outcome::IdTaken,
                }));
            }
        }
        Ok(None)
    }

    /// Writes new posts as one batch, syncs it, and publishes them.
    fn write(
        &mut self,
        first: u64,
        count: u32,
        appends: Vec<PendingPosts>,
    ) -> Result<(), LogError> {
        let length = appends.iter().map(|posts| posts.size() as u64).sum::<u64>();
        self.make_room(first, BATCH_HEADER_LEN as u64 + length)?;
        let mut header = Some(BatchHeader { count, first, length }.encode(&self.identity));
        let mut start = self.tail.length;
        let mut written = Vec::with_capacity(appends.len());
        for mut posts in appends {
            posts.write(&*self.tail.file, start, header.take())?;
            let size = posts.size() as u64;
            written.push((start, posts));
            start += size;
        }
        let sync_started = Instant::now();
        self.tail.file.sync_data()?;
        self.store.metrics.stored(count as usize, sync_started.elapsed());
        self.store.publish(self.tail.base, written);
        self.tail.length += BATCH_HEADER_LEN as u64 + length;
        Ok(())
    }

    /// Starts a new segment if the batch would make this one too long.
    fn make_room(&mut self, next: u64, length: u64) -> io::Result<()> {
        let full = self.tail.length + length > self.segment_bytes;
        let start = SegmentStart { base: next, chain: self.chain };
        if full && self.tail.length > segment::HEADER_LEN as u64 {
            self.tail = Tail::create(&*self.store.disk, &self.identity, start)?;
        }
        Ok(())
    }
}
