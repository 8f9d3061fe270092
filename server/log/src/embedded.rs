//! The log on disk: append-only segment files of checksummed records, one fsync per group of
//! concurrent appends.
//!
//! Guarantees beyond those of [`PostLog`]: whatever a crash or a failing disk does, a log that
//! opens holds every post that was acknowledged or read, and no post that was not sent. Damage is
//! an error that names file and offset, never a gap.
//!
//! One task writes (`writer.rs`). It shares an index (`index.rs`) and the newest posts (`ring.rs`)
//! with the readers (`store.rs`); replays share the blocks that they load (`blocks.rs`).
//! `recovery.rs` opens a log, `../segment.rs` is the format.
//!
//! Not here: deleting posts. The log keeps everything, and its index grows with it.

use std::{io, path::Path, sync::Arc};

use tokio::{
    sync::{Mutex, Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    disk::{self, Disk, LockGuard, RealDisk},
    error::{LogError, OpenError},
    new_posts::NewPosts,
    post_log::{Appending, PostLog, UserPage},
    records::{Limit, Records},
    segment::Identity,
};
use index::HashId;
use options::LogOptions;
use pending::PendingPosts;
use recovery::{Recovered, recover};
use store::Store;
use writer::{QueuedAppend, Ticket, Writer};

pub(crate) mod options;

pub(crate) mod index;
pub(crate) mod metrics;
pub(crate) mod ring;

mod blocks;
mod pending;
mod recovery;
mod runs;
mod store;
mod writer;

#[cfg(test)]
mod tests;

/// Appends that may wait for the writer. Their bytes are the real limit; this bounds the
/// bookkeeping.
const PENDING_APPENDS: usize = 1024;
/// Bytes of posts that may wait for the writer: four full commits, so that the writer always has
/// the next one at hand.
const PENDING_BYTES: usize = 16 * 1024 * 1024;
/// Largest segment, in bytes. Offsets have 32 bits, and one commit may exceed the limit.
const MAX_SEGMENT_BYTES: u64 = 1024 * 1024 * 1024;

/// A [`PostLog`] on a disk.
///
/// Close it before dropping it: dropping alone abandons queued appends, which end with
/// [`LogError::Closed`].
#[derive(Debug)]
pub struct EmbeddedLog {
    log_id: String,
    identity: Identity,
    hash: HashId,
    store: Arc<Store>,
    /// None if the log is read-only.
    queue: Option<mpsc::Sender<QueuedAppend>>,
    /// Permits for the bytes of queued appends.
    room: Arc<Semaphore>,
    closing: CancellationToken,
    /// The writer, until `close` has joined it.
    writer: Mutex<JoinSet<()>>,
    /// Locks out writers while a read-only log is open.
    _reader_lock: Option<LockGuard>,
    damage: Option<LogError>,
}

impl EmbeddedLog {
    /// Opens the log in a directory, which is created if it is missing and [`LogOptions::access`]
    /// allows it.
    ///
    /// Must be called on a tokio runtime; the log writes on a task of its own. Opening reads the
    /// whole log.
    ///
    /// # Errors
    /// The log is in use, missing (for reading), damaged, or the disk fails.
    pub async fn open_directory(
        path: impl AsRef<Path>,
        options: LogOptions,
    ) -> Result<Self, OpenError> {
        Self::open(Arc::new(RealDisk::new(path.as_ref())), options).await
    }

    /// Opens the log on a disk, like [`open_directory`](EmbeddedLog::open_directory).
    ///
    /// # Errors
    /// The same.
    pub async fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, OpenError> {
        let segment_bytes = options.segment_bytes.min(MAX_SEGMENT_BYTES);
        let (files, ring, metrics) = (disk.clone(), options.ring, options.metrics.clone());
        let found = move || recover(&*files, &options);
        let Recovered { identity, hash, index, ids, tail, chain, mut lock, damage } =
            disk::run(&*disk, found).await?;
        let store = Arc::new(Store::new(disk, index, ring, metrics));
        let closing = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let is_reader = tail.is_none();
        let queue = tail.map(|tail| {
            let (queue, appends) = mpsc::channel(PENDING_APPENDS);
            let (store, _lock) = (store.clone(), lock.take());
            let writer = Writer { store, identity, ids, tail, chain, segment_bytes, _lock };
            tasks.spawn(writer::run(writer, appends, closing.clone()));
            queue
        });
        Ok(Self {
            log_id: format!("{:032x}", identity.log_id),
            identity,
            hash,
            store,
            queue,
            room: Arc::new(Semaphore::new(PENDING_BYTES)),
            closing,
            writer: Mutex::new(tasks),
            _reader_lock: lock,
            damage: damage.filter(|_| is_reader),
        })
    }

    /// The damage behind the last post, if the log was opened for reading and there is some.
    pub fn damage(&self) -> Option<&LogError> {
        self.damage.as_ref()
    }

    /// Why the log takes no more posts, once a write has failed. It stays failed until it is opened
    /// again.
    pub fn failure(&self) -> watch::Receiver<Option<LogError>> {
        self.store.failure.subscribe()
    }

    /// Why the writer's queue is closed.
    fn refusal(&self) -> LogError {
        self.store.failure.borrow().clone().unwrap_or(LogError::Closed)
    }
}

#[async_trait::async_trait]
impl PostLog for EmbeddedLog {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.store.head.subscribe()
    }

    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError> {
        let posts = PendingPosts::new(posts, |id| (self.hash)(&self.identity, id));
        let queue = self.queue.as_ref().ok_or(LogError::ReadOnly)?;
        // An append larger than all the room would otherwise wait forever.
        let bytes = posts.size().min(PENDING_BYTES) as u32;
        let room = self.room.clone().acquire_many_owned(bytes).await;
        let room = room.expect("invariant: the semaphore is never closed");
        let (outcomes, appending) = Appending::new();
        let append = QueuedAppend { posts, ticket: Ticket { outcomes, _room: room } };
        queue.send(append).await.map_err(|_| self.refusal())?;
        Ok(appending)
    }

    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError> {
        self.store.read(after, limit).await
    }

    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        self.store.read_user(user_id, after, limit).await
    }

    async fn failed(&self) {
        // Cannot fail: the store keeps the sender.
        let _ = self.failure().wait_for(Option::is_some).await;
    }

    async fn close(&self) -> Result<(), LogError> {
        self.closing.cancel();
        let mut writer = self.writer.lock().await;
        while let Some(ended) = writer.join_next().await {
            ended.map_err(|error| LogError::from(io::Error::other(error)))?;
        }
        self.store.failure.borrow().clone().map_or(Ok(()), Err)
    }
}
