//! Opening a log: reads its segments from the first byte to the last and checks every record.
//!
//! A batch is written only after the one before it was synced, and a segment gets its name only
//! after it was synced. A crash can therefore tear the last batch of the last segment and nothing
//! else. Such a tail is cut off: it was never acknowledged. Everything else that is not valid is
//! damage, an error that names file and offset; a log that is opened for reading serves what
//! precedes it.
//!
//! Each segment is read and checked on a second thread while the one before it is indexed, which is
//! the other half of the work.
//!
//! The last segment is copied to a new file before anything is served. The bytes that were read may
//! be pages that an earlier, failed fsync left marked clean and never wrote; only bytes that are
//! written again can be synced again.

use std::{io, mem::take, panic::resume_unwind, sync::Arc, thread};

use quartet::encoded::PostView;

use super::{
    index::{HashId, Ids, Index},
    options::LogOptions,
};
use crate::{
    disk::{self, Access, Disk, DiskFile, LockGuard},
    error::{LogError, OpenError},
    segment::{self, Identity, Scan, SegmentStart},
};

/// The state of a log that was found or created on disk.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) identity: Identity,
    pub(super) hash: HashId,
    pub(super) index: Index,
    pub(super) ids: Ids,
    /// The segment to append to; none if the log is read-only.
    pub(super) tail: Option<Tail>,
    /// The chain value at the newest post.
    pub(super) chain: u64,
    /// None if a reader could not take one.
    pub(super) lock: Option<LockGuard>,
    /// Why a reader sees no more posts.
    pub(super) damage: Option<LogError>,
}

/// A segment that was read and checked.
struct ScannedSegment {
    base: u64,
    file: String,
    bytes: Vec<u8>,
    scan: Scan,
}

impl ScannedSegment {
    /// Reads a segment into `bytes`, reusing the allocation, and checks its batches.
    fn read(
        disk: &dyn Disk,
        identity: &Identity,
        base: u64,
        mut bytes: Vec<u8>,
    ) -> Result<Self, LogError> {
        let file = segment::file_name(base);
        read_file(disk, &file, &mut bytes)?;
        let start = decode_header(&file, &bytes)?.1;
        let scan = segment::scan(identity, SegmentStart { base, ..start }, &bytes);
        Ok(Self { base, file, bytes, scan })
    }
}

/// Largest file that is read, in bytes: offsets have 32 bits. Segments end long before.
const MAX_FILE: u64 = u32::MAX as u64;

/// The segment that is appended to.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) base: u64,
    /// Bytes of the header and the synced batches.
    pub(super) length: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

impl Tail {
    /// Creates a segment with this content, durably and atomically.
    fn install(disk: &dyn Disk, base: u64, content: &[u8]) -> io::Result<Self> {
        let file = disk::install(disk, &segment::file_name(base), content)?;
        Ok(Self { base, length: content.len() as u64, file })
    }

    /// Creates an empty segment.
    pub(super) fn create(
        disk: &dyn Disk,
        identity: &Identity,
        start: SegmentStart,
    ) -> io::Result<Self> {
        Self::install(disk, start.base, &segment::encode_header(identity, start))
    }
}

/// Reads the log on this disk, or creates one if there is none.
pub(super) fn recover(disk: &dyn Disk, options: &LogOptions) -> Result<Recovered, OpenError> {
    let write = options.access == Access::Write;
    let lock = lock(disk, options.access)?;
    let files = match disk.list() {
        Err(error) if !write && error.kind() == io::ErrorKind::NotFound => Vec::new(),
        files => files?,
    };
    if write {
        remove_temporary(disk, &files)?;
    }
    let mut bases: Vec<u64> = files.iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    let identity = match bases.first() {
        Some(base) => identity_of(disk, *base)?,
        None if write => options.identity,
        None => return Err(OpenError::NoLog { directory: disk.name() }),
    };
    let mut log = Recovered::new(identity, options.hash_id, lock);
    match log.read_segments(disk, &bases, write) {
        Err(damage @ LogError::Damaged { .. }) if !write => {
            let head = log.index.last();
            tracing::error!(%damage, head, "only the posts before the damage are served");
            log.damage = Some(damage);
        }
        result => result?,
    }
    if write && bases.is_empty() {
        log.tail = Some(Tail::create(disk, &identity, SegmentStart { base: 1, chain: 0 })?);
    }
    Ok(log)
}

impl Recovered {
    fn new(identity: Identity, hash: HashId, lock: Option<LockGuard>) -> Self {
        let (index, ids) = (Index::default(), Ids::default());
        Self { identity, hash, index, ids, tail: None, chain: 0, lock, damage: None }
    }

    /// Indexes the segments, and copies the last one if the log is opened for writing.
    fn read_segments(
        &mut self,
        disk: &dyn Disk,
        bases: &[u64],
        write: bool,
    ) -> Result<(), LogError> {
        let identity = self.identity;
        thread::scope(|scope| {
            let read = |base: u64, buffer| {
                scope.spawn(move || ScannedSegment::read(disk, &identity, base, buffer))
            };
            let mut bases = bases.iter();
            let mut spare = Vec::new();
            let mut ahead = bases.next().map(|base| read(*base, Vec::new()));
            while let Some(reading) = ahead {
                let segment = reading.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                ahead = bases.next().map(|base| read(*base, take(&mut spare)));
                let last = ahead.is_none();
                self.index_segment(&segment, last)?;
                if last && write {
                    let whole = &segment.bytes[..segment.scan.end];
                    self.tail = Some(Tail::install(disk, segment.base, whole)?);
                }
                spare = segment.bytes;
            }
            Ok(())
        })
    }

    /// Indexes the posts of a segment. The last one may end with a torn batch.
    fn index_segment(&mut self, segment: &ScannedSegment, last: bool) -> Result<(), LogError> {
        let ScannedSegment { base, file, bytes, scan } = segment;
        self.check_header(file, *base, bytes)?;
        for (place, sequence) in scan.records.iter().zip(*base..) {
            let post = PostView(&bytes[segment::post_of(place)]);
            self.index.push(*base, place.start as u64..place.end as u64, post.user_id());
            self.ids.insert((self.hash)(&self.identity, post.post_id()), sequence);
        }
        self.chain = scan.chain;
        match &scan.flaw {
            None => {}
            Some(flaw) if last && flaw.torn => {
                let (offset, bytes) = (scan.end, bytes.len() - scan.end);
                tracing::warn!(file, offset, bytes, "a write that a crash interrupted is left out");
                let what = format!(
                    "{bytes} bytes are no whole batch: a write that a crash interrupted, or one \
                     that is under way"
                );
                self.damage = Some(damaged(file, offset, what));
            }
            Some(flaw) => return Err(damaged(file, flaw.offset, flaw.what)),
        }
        Ok(())
    }

    /// Checks that this is the segment that comes next.
    fn check_header(&self, file: &str, base: u64, bytes: &[u8]) -> Result<(), LogError> {
        let (identity, start) = decode_header(file, bytes)?;
        let next = self.index.last() + 1;
        if identity != self.identity {
            return Err(damaged(file, 16, "the segment belongs to another log"));
        }
        if start.base != base {
            let what = format!("the segment starts with sequence {}, unlike its name", start.base);
            return Err(damaged(file, 48, what));
        }
        if base != next {
            let what = format!("posts are missing: sequence {next} should come here, not {base}");
            return Err(damaged(file, 48, what));
        }
        if start.chain != self.chain {
            return Err(damaged(
                file,
                56,
                "the segment continues other posts than those before it",
            ));
        }
        Ok(())
    }
}

fn lock(disk: &dyn Disk, access: Access) -> Result<Option<LockGuard>, OpenError> {
    match disk.lock(access) {
        Ok(guard) => Ok(Some(guard)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(OpenError::InUse { directory: disk.name() })
        }
        // A reader does not create a missing lock file; without one there is no writer either.
        Err(error) if access == Access::Read => {
            tracing::debug!(%error, "reading without a lock");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes incomplete files that a crash left behind.
fn remove_temporary(disk: &dyn Disk, files: &[String]) -> io::Result<()> {
    let is_segment = |name: &str| segment::base_of(name).is_some();
    let incomplete = |name: &&String| name.strip_suffix(disk::TEMPORARY).is_some_and(is_segment);
    files.iter().filter(incomplete).try_for_each(|name| disk.remove(name))
}

fn identity_of(disk: &dyn Disk, base: u64) -> Result<Identity, LogError> {
    let file = segment::file_name(base);
    let open = disk.open(&file)?;
    let mut header = vec![0; open.size()?.min(segment::HEADER_LEN as u64) as usize];
    open.read_exact_at(&mut header, 0)?;
    Ok(decode_header(&file, &header)?.0)
}

/// Reads a whole file into `bytes`.
fn read_file(disk: &dyn Disk, file: &str, bytes: &mut Vec<u8>) -> Result<(), LogError> {
    let open = disk.open(file)?;
    let size = open.size()?;
    if size > MAX_FILE {
        return Err(damaged(file, MAX_FILE as usize, "no segment is that long"));
    }
    bytes.resize(size as usize, 0);
    Ok(open.read_exact_at(bytes, 0)?)
}

fn decode_header(file: &str, bytes: &[u8]) -> Result<(Identity, SegmentStart), LogError> {
    segment::decode_header(bytes).map_err(|what| damaged(file, 0, what))
}

fn damaged(file: &str, offset: usize, what: impl Into<String>) -> LogError {
    LogError::Damaged { file: file.to_owned(), offset: offset as u64, what: what.into() }
}
