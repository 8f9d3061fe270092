//! The log on disk: append-only segment files of checksummed records, one fsync per group of concurrent appends.
//!
//! Guarantees beyond those of [`PostLog`]: whatever a crash or a failing disk does, a log that opens holds every post
//! that was acknowledged or read, and no post that was not sent. Damage is an error with a place, never a gap.
//!
//! One task writes (`writer.rs`). Readers share an index (`index.rs`) and the newest posts (`ring.rs`) with it, behind
//! one lock that nobody holds while the disk works; replays share what they read (`blocks.rs`). `recovery.rs` opens, `segment.rs` is the format.
//!
//! Not here: deleting posts. The log keeps everything, and its index grows with it.

use std::{fmt, io, ops::RangeInclusive, path::Path, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;
use quartet::encoded::PostView;
use tokio::{
    sync::{Mutex, Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Appending, Limit, LogError, LogMetrics, NewPosts, PostLog, Record, Records, UserPage,
    blocks::{Blocks, Files},
    disk::{self, Disk, DiskFile, LockGuard, RealDisk},
    index::{self, Entry, Index, Run},
    metrics::Source,
    pending::Pending,
    records::Block,
    recovery::{Recovered, recover},
    ring::Ring,
    segment,
    writer::{self, Append, Ticket, Writer},
};
pub use super::{
    disk::Access,
    index::{HashId, hash_id},
    ring::RingLimits,
    segment::Identity,
};

/// Appends that may wait for the writer. Their bytes are what counts; this bounds the bookkeeping.
const PENDING_APPENDS: usize = 1024;
/// Bytes of posts that may wait for the writer: four full commits, so that it never waits for them.
const PENDING_BYTES: usize = 16 * 1024 * 1024;

/// How to open a log.
#[derive(Debug, Clone)]
pub struct Options {
    /// [`Access::Read`] changes nothing on disk, refuses appends, and serves what precedes any damage.
    pub access: Access,
    /// Where a segment ends, in bytes. Opening copies the last segment once. At most 1 GiB.
    pub segment_bytes: u64,
    /// What makes a new log unlike others. A log that is there keeps its own.
    pub identity: Identity,
    /// What is kept in memory of the newest posts.
    pub ring: RingLimits,
    /// How ids are told apart. Only tests have a reason to choose another.
    pub hash_id: HashId,
    /// What counts its writes and reads.
    pub metrics: LogMetrics,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access: Access::Write,
            segment_bytes: 16 * 1024 * 1024,
            identity: Identity::random(),
            ring: RingLimits::default(),
            hash_id: index::hash_id,
            metrics: LogMetrics::default(),
        }
    }
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another log of this one, has it open.
    #[error("the log in {directory} is in use by another process")]
    InUse {
        /// Where.
        directory: String,
    },
    /// There is nothing to read, and reading makes nothing.
    #[error("there is no log in {directory}")]
    NoLog {
        /// Where.
        directory: String,
    },
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Log(error.into())
    }
}

/// A [`PostLog`] on a disk.
///
/// Close it before dropping it: dropping alone gives up what waits to be written, and its appends end `Closed`.
#[derive(Debug)]
pub struct EmbeddedLog {
    log_id: String,
    identity: Identity,
    hash: HashId,
    shared: Arc<Shared>,
    /// None on a log that is only read.
    queue: Option<mpsc::Sender<Append>>,
    room: Arc<Semaphore>,
    closing: CancellationToken,
    /// The writer, until somebody has seen it end.
    writer: Mutex<JoinSet<()>>,
    /// Keeps writers out of a log that is only read.
    _reader_lock: Option<LockGuard>,
}

impl EmbeddedLog {
    /// Opens the log in a directory, which is made if there is none and [`Options::access`] allows it.
    ///
    /// Call it on a tokio runtime; the log writes on a task of its own. Opening reads the whole log.
    pub async fn open_directory(
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Self, OpenError> {
        Self::open(Arc::new(RealDisk::new(path.as_ref())), options).await
    }

    /// Opens the log on a disk.
    pub async fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let segment_bytes = options.segment_bytes.min(MAX_SEGMENT_BYTES);
        let (files, ring, metrics) = (disk.clone(), options.ring, options.metrics.clone());
        let found = move || recover(&*files, &options);
        let Recovered { identity, hash, index, ids, tail, mut lock } =
            disk::run(&*disk, found).await?;
        let shared = Arc::new(Shared::new(disk, index, ring, metrics));
        let closing = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let queue = tail.map(|tail| {
            let (queue, appends) = mpsc::channel(PENDING_APPENDS);
            let (shared, _lock) = (shared.clone(), lock.take());
            let writer = Writer { shared, identity, ids, tail, segment_bytes, _lock };
            tasks.spawn(writer::run(writer, appends, closing.clone()));
            queue
        });
        Ok(Self {
            log_id: format!("{:032x}", identity.log_id),
            identity,
            hash,
            shared,
            queue,
            room: Arc::new(Semaphore::new(PENDING_BYTES)),
            closing,
            writer: Mutex::new(tasks),
            _reader_lock: lock,
        })
    }

    /// Why the log takes no more posts, once a write has failed. It never recovers: open it anew.
    pub fn failure(&self) -> watch::Receiver<Option<LogError>> {
        self.shared.failure.subscribe()
    }

    /// Why an append was not taken in.
    fn refusal(&self) -> LogError {
        self.shared.failure.borrow().clone().unwrap_or(LogError::Closed)
    }

    /// Posts from this one on, and where in them it is: those in memory, or the block that it is in. None if there is none.
    async fn read_from(&self, first: u64, limit: Limit) -> Result<(Block, usize), LogError> {
        let newest = self.shared.posts.read().newest(first, limit);
        if let Some(records) = newest {
            self.shared.metrics.read(Source::Ring);
            return Ok((records.into(), 0));
        }
        let posts = self.shared.posts.read().index.block(first);
        let skipped = (first - posts.start()) as usize;
        let mut from = Source::Block;
        let load = async {
            from = Source::Disk;
            self.load(posts.clone()).await
        };
        let block = self.shared.blocks.get(posts.clone(), load).await;
        self.shared.metrics.read(from);
        match block {
            Ok(block) => Ok((block, skipped)),
            // What else is in a damaged block can be read as far as its records are whole.
            Err(LogError::Damaged { .. }) => {
                let found = self.shared.posts.read().on_disk(first, limit);
                Ok((self.fetch(found).await?.into(), 0))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a block: here if the system has it in memory, else on a thread that may wait for the disk.
    async fn load(&self, posts: RangeInclusive<u64>) -> Result<Block, LogError> {
        let all = Limit { posts: usize::MAX, bytes: usize::MAX };
        let run = self.shared.posts.read().index.runs(posts, all).remove(0); // a block is one run
        if let Some(file) = self.shared.files.get(run.base)
            && let Ok(block) = read_run(&*file, &run, <dyn DiskFile>::read_cached_at)
        {
            return Ok(block.into());
        }
        let shared = self.shared.clone();
        let read = move || {
            let file = open_segment(&*shared.disk, run.base)?;
            let records = read_run(&*file, &run, <dyn DiskFile>::read_exact_at)?;
            shared.files.keep(run.base, file);
            Ok(records.into())
        };
        disk::run(&*self.shared.disk, read).await
    }

    /// Reads what was found, where it was found.
    async fn fetch(&self, found: Found) -> Result<Vec<Record>, LogError> {
        match found {
            Found::InMemory(records) => {
                self.shared.metrics.read(Source::Ring);
                Ok(records)
            }
            Found::OnDisk(runs) => {
                self.shared.metrics.read(Source::Disk);
                let disk = self.shared.disk.clone();
                disk::run(&*self.shared.disk, move || read_runs(&*disk, &runs)).await
            }
        }
    }
}

#[tonic::async_trait]
impl PostLog for EmbeddedLog {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError> {
        let posts = Pending::new(posts, |id| (self.hash)(&self.identity, id));
        let queue = self.queue.as_ref().ok_or(LogError::ReadOnly)?;
        // One append alone must not wait for more room than there is.
        let bytes = posts.size().min(PENDING_BYTES) as u32;
        let room = self.room.clone().acquire_many_owned(bytes).await;
        let room = room.expect("invariant: the semaphore is never closed");
        let (promise, appending) = Appending::new();
        let append = Append { posts, ticket: Ticket { promise, _room: room } };
        queue.send(append).await.map_err(|_| self.refusal())?;
        Ok(appending)
    }

    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError> {
        let mut records = Records::default();
        loop {
            let next = records.last().map_or(after, |last| last.sequence).saturating_add(1);
            match self.read_from(next, limit).await {
                // A block may end before the limit is reached.
                Ok((block, start)) if start < block.len() && records.add(&block, start, limit) => {}
                // Whoever reads on meets the error.
                Err(error) if records.is_empty() => return Err(error),
                _ => return Ok(records),
            }
        }
    }

    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        let (found, matching, head) = {
            let posts = self.shared.posts.read();
            let sequences = posts.index.of_user(user_id, after);
            let found = posts.find(sequences.iter().map(|n| u64::from(*n)), limit);
            (found, sequences.len(), posts.index.last())
        };
        Ok(UserPage::new(self.fetch(found).await?, matching, head))
    }

    async fn failed(&self) {
        // We hold the other end.
        let _ = self.failure().wait_for(Option::is_some).await;
    }

    async fn close(&self) -> Result<(), LogError> {
        self.closing.cancel();
        let mut writer = self.writer.lock().await;
        while let Some(ended) = writer.join_next().await {
            ended.map_err(|error| LogError::from(io::Error::other(error)))?;
        }
        self.shared.failure.borrow().clone().map_or(Ok(()), Err)
    }
}

/// Offsets are kept in 32 bits, and a commit may come on top.
const MAX_SEGMENT_BYTES: u64 = 1024 * 1024 * 1024;

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    posts: RwLock<Posts>,
    blocks: Blocks,
    files: Files,
    head: watch::Sender<u64>,
    pub(super) failure: watch::Sender<Option<LogError>>,
    pub(super) metrics: LogMetrics,
}

/// The durable posts: all of them on disk, the newest in memory too.
struct Posts {
    index: Index,
    ring: Ring,
}

/// Posts that were asked for.
#[derive(Debug)]
enum Found {
    InMemory(Vec<Record>),
    OnDisk(Vec<Run>),
}

impl fmt::Debug for Shared {
    /// Leaves out what grows with the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk, posts: _, blocks, files: _, head, failure, metrics: _ } = self;
        let (head, failure) = (&*head.borrow(), &*failure.borrow());
        f.debug_struct("Shared")
            .field("disk", disk)
            .field("blocks", blocks)
            .field("head", head)
            .field("failure", failure)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn new(disk: Arc<dyn Disk>, index: Index, ring: RingLimits, metrics: LogMetrics) -> Self {
        let head = index.last();
        let posts = RwLock::new(Posts { index, ring: Ring::new(head + 1, ring) });
        let (head, failure) = (watch::Sender::new(head), watch::Sender::new(None));
        let (blocks, files) = (Blocks::default(), Files::default());
        Self { disk, posts, blocks, files, head, failure, metrics }
    }

    /// The newest durable sequence.
    pub(super) fn last(&self) -> u64 {
        *self.head.borrow()
    }

    /// Lets readers see posts that are durable: they were written to the segment that starts with `base`, and each append
    /// comes with where its bytes stand there.
    pub(super) fn publish(&self, base: u64, appends: Vec<(u64, Pending)>) {
        let mut log = self.posts.write();
        for (start, records) in appends {
            let (bytes, places) = records.share();
            // Two loops: counting references waits for what was stored before, which may be far away, as users are.
            for place in &places {
                let user_id = PostView(&bytes[place.post()]).user_id();
                let record = place.record();
                log.index.push(
                    base,
                    start + record.start as u64..start + record.end as u64,
                    user_id,
                );
            }
            places.iter().for_each(|place| log.ring.push(bytes.slice(place.post())));
        }
        // Under the lock: whoever looks a post up finds a head that counts it.
        self.head.send_replace(log.index.last());
    }

    /// Reads one post. Blocks.
    pub(super) fn read_one(&self, sequence: u64) -> Result<Bytes, LogError> {
        let limit = Limit { posts: 1, bytes: usize::MAX };
        let found = self.posts.read().find(std::iter::once(sequence), limit);
        let mut records = match found {
            Found::InMemory(records) => records,
            Found::OnDisk(runs) => read_runs(&*self.disk, &runs)?,
        };
        Ok(records.remove(0).post)
    }
}

impl Posts {
    /// Posts from this one on, if they are in memory: none if it is beyond the newest.
    fn newest(&self, first: u64, limit: Limit) -> Option<Vec<Record>> {
        let last = self.index.last();
        let here = first > last || self.ring.holds(first);
        here.then(|| limit.take((first..=last).map(|sequence| self.record(sequence))))
    }

    /// A post that is in memory.
    fn record(&self, sequence: u64) -> Record {
        let (user, post) = (self.index.user(sequence), self.ring.get(sequence).clone());
        Record { sequence, user, post }
    }

    /// Where posts from this one on stand.
    fn on_disk(&self, first: u64, limit: Limit) -> Found {
        Found::OnDisk(self.index.runs(first..=self.index.last(), limit))
    }

    /// Finds posts with these sequences, which are in order: all in memory if the first one is, else all on disk.
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

/// Reads records, a read per run, up to the first one that is damaged. That one is an error if nothing precedes it.
fn read_runs(disk: &dyn Disk, runs: &[Run]) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    for run in runs {
        let read = open_segment(disk, run.base).and_then(|file| {
            let bytes = read_bytes(&*file, run, <dyn DiskFile>::read_exact_at)?;
            decode_run(run, &bytes, &mut records)
        });
        match read {
            Err(damage @ LogError::Damaged { .. }) => {
                tracing::error!(%damage, "a read met damage");
                return if records.is_empty() { Err(damage) } else { Ok(records) };
            }
            result => result?,
        }
    }
    Ok(records)
}

/// Reads the records of a run, all of them.
fn read_run(
    file: &(dyn DiskFile + 'static),
    run: &Run,
    read: ReadAt,
) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::with_capacity(run.records.len());
    decode_run(run, &read_bytes(file, run, read)?, &mut records)?;
    Ok(records)
}

/// One of the ways to read a file.
type ReadAt = fn(&(dyn DiskFile + 'static), &mut [u8], u64) -> io::Result<()>;

fn open_segment(disk: &dyn Disk, base: u64) -> Result<Arc<dyn DiskFile>, LogError> {
    disk.open(&segment::file_name(base)).map_err(|error| not_whole(base, 0, error))
}

fn read_bytes(file: &(dyn DiskFile + 'static), run: &Run, read: ReadAt) -> Result<Bytes, LogError> {
    let start = run.records[0].start;
    let mut bytes = vec![0; (run.end - start) as usize];
    read(file, &mut bytes, u64::from(start)).map_err(|error| not_whole(run.base, start, error))?;
    Ok(bytes.into())
}

/// Finds the posts in the bytes of a run, up to the first that is damaged.
fn decode_run(run: &Run, bytes: &Bytes, records: &mut Vec<Record>) -> Result<(), LogError> {
    for (sequence, Entry { start, user }) in (run.first..).zip(run.records.iter().copied()) {
        let at = (start - run.records[0].start) as usize;
        let post = segment::decode_record(&bytes[at..], sequence)
            .ok_or_else(|| damaged(run.base, start, segment::BAD_RECORD.to_owned()))?;
        records.push(Record { sequence, user, post: bytes.slice(at + post.start..at + post.end) });
    }
    Ok(())
}

fn damaged(base: u64, offset: u32, what: String) -> LogError {
    LogError::Damaged { file: segment::file_name(base), offset: u64::from(offset), what }
}

/// What it means that a segment cannot be read: a part of it that is not there is damage.
fn not_whole(base: u64, offset: u32, error: io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
            damaged(base, offset, error.to_string())
        }
        _ => error.into(),
    }
}

#[cfg(test)]
pub(super) mod tests;
