//! The one task that writes: it takes what is queued, stores it with one write and one fsync, and answers.
//!
//! While it waits for the disk the next posts gather, so that many callers share an fsync; when nobody is waiting,
//! a post is written at once. The first failure is the last: what a failed fsync left behind cannot be known, so
//! everything in that commit and after it is refused until the log is opened anew.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    APPEND_BYTES, APPEND_POSTS, LogError, Outcome,
    disk::{self, LockGuard},
    embedded::Shared,
    index::{Ids, MAX_POSTS},
    pending::Pending,
    recovery::Tail,
    segment::{self, BATCH_HEADER_LEN, BatchHeader, Identity},
};

/// Posts of one commit. At 330 B they are a write of 1.4 MiB, where the disk is near its full rate.
const COMMIT_POSTS: usize = 4096;
/// Bytes of one commit.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// Posts that were taken in.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) posts: Pending,
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
    /// Stores a group of appends and answers them. After a failure there is no writer any more.
    async fn commit(mut self, group: Vec<Append>) -> Result<Self, LogError> {
        let shared = self.shared.clone();
        let (appends, tickets): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| (append.posts, append.ticket)).unzip();
        let stored: Result<_, LogError> = disk::run(&*shared.disk, move || {
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
                shared.failure.send_replace(Some(failure.clone()));
                tickets.into_iter().for_each(|ticket| ticket.answer(Err(failure.clone())));
                Err(failure)
            }
        }
    }

    /// Stores what is new among the posts of these appends; after this it is durable and published.
    fn store(&mut self, mut appends: Vec<Pending>) -> Result<Vec<Vec<Outcome>>, LogError> {
        let first = self.shared.last() + 1;
        let mut outcomes = Vec::with_capacity(appends.len());
        let mut next = first;
        for n in 0..appends.len() {
            let (before, rest) = appends.split_at_mut(n);
            let append = &mut rest[0];
            append.begin(next);
            outcomes.push(self.place(before, append)?);
            next = append.next();
        }
        if next > first {
            self.write(first, (next - first) as u32, appends)?;
        }
        Ok(outcomes)
    }

    /// Finds the places of an append's posts, behind those of the appends before it in this commit.
    fn place(
        &mut self,
        before: &[Pending],
        append: &mut Pending,
    ) -> Result<Vec<Outcome>, LogError> {
        let mut outcomes = Vec::with_capacity(append.len());
        for n in 0..append.len() {
            let outcome = match self.taken(before, append, n)? {
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

    /// What it means for a post that another one has its id, if one has.
    fn taken(
        &self,
        before: &[Pending],
        append: &Pending,
        n: usize,
    ) -> Result<Option<Outcome>, LogError> {
        for sequence in self.ids.candidates(append.id(n)) {
            // It was stored before, or this commit is about to store it.
            let here = before.iter().chain([append]).find_map(|posts| posts.find(sequence));
            let original = match here {
                Some(post) => Bytes::copy_from_slice(post),
                None => self.shared.read_one(sequence)?,
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

    /// Writes new posts as one batch, makes it durable, and lets readers see it.
    fn write(&mut self, first: u64, count: u32, appends: Vec<Pending>) -> Result<(), LogError> {
        let length = appends.iter().map(|posts| posts.size() as u64).sum::<u64>();
        self.make_room(first, BATCH_HEADER_LEN as u64 + length)?;
        let mut header = Some(BatchHeader { count, first, length }.encode(&self.identity));
        let mut start = self.tail.length;
        let mut placed = Vec::with_capacity(appends.len());
        for mut posts in appends {
            posts.write(&*self.tail.file, start, header.take())?;
            let size = posts.size() as u64;
            placed.push((start, posts));
            start += size;
        }
        let written = Instant::now();
        self.tail.file.sync_data()?;
        self.shared.metrics.stored(count as usize, written.elapsed());
        self.shared.publish(self.tail.base, placed);
        self.tail.length += BATCH_HEADER_LEN as u64 + length;
        Ok(())
    }

    /// Begins a segment if the batch would make this one too long.
    fn make_room(&mut self, next: u64, length: u64) -> io::Result<()> {
        let full = self.tail.length + length > self.segment_bytes;
        if full && self.tail.length > segment::HEADER_LEN as u64 {
            self.tail = Tail::begin(&*self.shared.disk, &self.identity, next)?;
        }
        Ok(())
    }
}
