//! The one task that writes: it takes what is queued, stores it with one write and one fsync, and answers.
//!
//! While it waits for the disk the next posts gather, so that many callers share an fsync; when nobody is waiting,
//! a post is written at once. The first failure is the last: what a failed fsync left behind cannot be known, so
//! everything in that commit and after it is refused until the log is opened anew.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;
use quartet::wire;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    APPEND_BYTES, APPEND_POSTS, LogError, NewPost, Outcome,
    disk::{self, LockGuard},
    embedded::Shared,
    index::{Ids, MAX_POSTS},
    recovery::Tail,
    segment::{self, Identity},
};

/// Posts of one commit. At 330 B they are a write of 1.4 MiB, where the disk is near its full rate.
const COMMIT_POSTS: usize = 4096;
/// Bytes of one commit, which is also what its buffer keeps.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// Posts that were taken in.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) posts: Vec<NewPost>,
    pub(super) ticket: Ticket,
}

/// Who waits for the outcome, and the room that the posts take until then.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) promise: oneshot::Sender<Result<Vec<Outcome>, LogError>>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Ticket {
    fn answer(self, outcome: Result<Vec<Outcome>, LogError>) {
        // Nobody may be waiting any more; what was stored is stored all the same.
        let _ = self.promise.send(outcome);
    }
}

/// What only the writer has.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Identity,
    pub(super) ids: Ids,
    pub(super) tail: Tail,
    pub(super) segment_bytes: u64,
    pub(super) buffer: Vec<u8>,
    /// Released when nothing will be written any more.
    pub(super) _lock: Option<LockGuard>,
}

/// Writes until the queue is closed and empty, or nobody can append any more.
pub(super) async fn run(
    mut writer: Writer,
    mut queue: mpsc::Receiver<Append>,
    closing: CancellationToken,
) {
    let failure = loop {
        let Some(first) = next(&mut queue, &closing).await else { return };
        match writer.commit(group(first, &mut queue)).await {
            Ok(again) => writer = again,
            Err(failure) => break failure,
        }
    };
    while let Some(append) = next(&mut queue, &closing).await {
        append.ticket.answer(Err(failure.clone()));
    }
}

/// The next append, until the queue is closed and empty.
async fn next(queue: &mut mpsc::Receiver<Append>, closing: &CancellationToken) -> Option<Append> {
    tokio::select! {
        biased;
        // First, or a busy log would never end. Nothing more comes in; what was taken in is still to be written.
        () = closing.cancelled() => {
            queue.close();
            queue.recv().await
        }
        append = queue.recv() => append,
    }
}

/// The first append and those that wait behind it, as long as the largest one would fit.
fn group(first: Append, queue: &mut mpsc::Receiver<Append>) -> Vec<Append> {
    let (mut posts, mut bytes) = (first.posts.len(), size(&first.posts));
    let mut group = vec![first];
    while posts + APPEND_POSTS <= COMMIT_POSTS && bytes + APPEND_BYTES <= COMMIT_BYTES {
        let Ok(append) = queue.try_recv() else { break };
        posts += append.posts.len();
        bytes += size(&append.posts);
        group.push(append);
    }
    group
}

/// Bytes that posts take.
pub(super) fn size(posts: &[NewPost]) -> usize {
    posts.iter().map(|post| post.stored().len()).sum()
}

impl Writer {
    /// Stores a group of appends and answers them. After a failure there is no writer any more.
    async fn commit(mut self, group: Vec<Append>) -> Result<Self, LogError> {
        let shared = self.shared.clone();
        let (posts, tickets): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| (append.posts, append.ticket)).unzip();
        let stored: Result<_, LogError> = disk::run(&*shared.disk, move || {
            let outcomes = self.store(&posts)?;
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
                shared.failure.send_replace(Some(failure.clone()));
                tickets.into_iter().for_each(|ticket| ticket.answer(Err(failure.clone())));
                Err(failure)
            }
        }
    }

    /// Stores what is new among the posts of these appends; after this it is durable and published.
    fn store(&mut self, appends: &[Vec<NewPost>]) -> Result<Vec<Vec<Outcome>>, LogError> {
        let mut fresh = Vec::new();
        let mut outcomes = Vec::with_capacity(appends.len());
        for posts in appends {
            let posts = posts.iter().map(|post| self.place(post, &mut fresh));
            outcomes.push(posts.collect::<Result<_, _>>()?);
        }
        if !fresh.is_empty() {
            self.write(&fresh)?;
        }
        Ok(outcomes)
    }

    /// Finds the place of a post: its own, or that of the post that has its id.
    fn place<'a>(
        &mut self,
        post: &'a NewPost,
        fresh: &mut Vec<&'a NewPost>,
    ) -> Result<Outcome, LogError> {
        let hash = self.ids.hash(post.post_id());
        for sequence in self.ids.candidates(hash) {
            let original = self.original(sequence, fresh)?;
            if wire::PostView(&original).post_id() == post.post_id() {
                return Ok(match post.same_content(&original) {
                    true => Outcome::Duplicate(sequence),
                    false => Outcome::IdTaken,
                });
            }
        }
        let sequence = self.shared.last() + fresh.len() as u64 + 1;
        if sequence > MAX_POSTS {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        self.ids.insert(hash, sequence);
        fresh.push(post);
        Ok(Outcome::Created(sequence))
    }

    /// A post that was stored before, or that this commit is about to store.
    fn original(&self, sequence: u64, fresh: &[&NewPost]) -> Result<Bytes, LogError> {
        let head = self.shared.last();
        if sequence > head {
            return Ok(fresh[(sequence - head - 1) as usize].stored().clone());
        }
        self.shared.read_one(sequence)
    }

    /// Writes a batch of new posts, makes it durable, and lets readers see it.
    fn write(&mut self, posts: &[&NewPost]) -> Result<(), LogError> {
        let first = self.shared.last() + 1;
        self.buffer.clear();
        let stored = posts.iter().map(|post| &post.stored()[..]);
        let places = segment::encode_batch(&self.identity, first, stored, &mut self.buffer);
        self.make_room(first)?;
        self.tail.file.write_all_at(&self.buffer, self.tail.length)?;
        let written = Instant::now();
        self.tail.file.sync_data()?;
        self.shared.metrics.stored(posts.len(), written.elapsed());
        let start = self.tail.length;
        let places = places.into_iter().map(|place| start + place.start..start + place.end);
        self.shared.publish(self.tail.base, posts.iter().copied().zip(places));
        self.tail.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Begins a segment if the batch would make this one too long.
    fn make_room(&mut self, next: u64) -> io::Result<()> {
        let full = self.tail.length + self.buffer.len() as u64 > self.segment_bytes;
        if full && self.tail.length > segment::HEADER_LEN as u64 {
            self.tail = Tail::begin(&*self.shared.disk, &self.identity, next)?;
        }
        Ok(())
    }
}
