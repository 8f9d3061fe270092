//! Tests of what the log on disk promises beyond the conformance suite: group commit, segments,
//! locks, crashes and damage.

use std::{
    collections::BTreeSet,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    FutureExt,
    future::{join_all, try_join_all},
};
use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    disk::{
        Access, DiskFile,
        memory::{Fault, MemoryDisk},
    },
    fixtures::{
        ALL, append, by_id, colliding, no_ring, post, post_by, read_all, small_segments, soon,
    },
    new_posts::NewPost,
    post_log::Outcome,
    records::Record,
    segment,
};

fn to_read() -> LogOptions {
    LogOptions { access: Access::Read, ..no_ring() }
}

async fn open(disk: &MemoryDisk) -> Result<EmbeddedLog, OpenError> {
    EmbeddedLog::open(Arc::new(disk.clone()), no_ring()).await
}

/// Twelve posts, two to a batch, two batches to a segment.
async fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let log = open(&disk).await.unwrap();
    for n in 0..6 {
        append(&log, vec![post(&format!("p{}", 2 * n)), post(&format!("p{}", 2 * n + 1))]).await;
    }
    log.close().await.unwrap();
    disk
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| segment::base_of(name).is_some());
    names.sort();
    names
}

fn flip(disk: &MemoryDisk, file: &str, offset: usize) {
    let mut content = disk.content(file).unwrap();
    content[offset] ^= 0x10;
    disk.replace(file, content);
}

/// The damage that kept a log from opening.
async fn refused(disk: &MemoryDisk) -> (String, u64, String) {
    match open(disk).await {
        Err(OpenError::Log(LogError::Damaged { file, offset, what })) => (file, offset, what),
        other => panic!("expected damage, got {other:?}"),
    }
}

/// The offset at which the last batch starts.
fn last_batch(content: &[u8]) -> usize {
    content.windows(4).rposition(|window| window == b"BTCH").unwrap()
}

// ---- appending

#[tokio::test]
async fn queued_appends_share_one_fsync() {
    let disk = MemoryDisk::new();
    let log = EmbeddedLog::open(Arc::new(disk.clone()), LogOptions::default()).await.unwrap();
    let before = disk.syncs();
    let mut appending = Vec::new();
    for n in 0..50 {
        appending.push(log.append(vec![post(&format!("p{n}"))].into()).await.unwrap());
    }
    soon(join_all(appending)).await;
    assert_eq!(disk.syncs() - before, 1);
}

#[tokio::test]
async fn a_commit_holds_at_most_4096_posts() {
    let disk = MemoryDisk::new();
    let log = EmbeddedLog::open(Arc::new(disk.clone()), LogOptions::default()).await.unwrap();
    let before = disk.syncs();
    let posts = |n| (0..512).map(|m| post(&format!("p{n}-{m}"))).collect::<NewPosts>();
    let mut appending = Vec::new();
    for n in 0..20 {
        appending.push(log.append(posts(n)).await.unwrap());
    }
    soon(join_all(appending)).await;
    assert_eq!(*log.head().borrow(), 20 * 512);
    assert_eq!(disk.syncs() - before, 3, "two commits of 4,096 posts and one of 2,048");
}

#[tokio::test]
async fn a_commit_of_duplicates_writes_nothing() {
    let disk = written().await;
    let log = open(&disk).await.unwrap();
    let before = disk.operations();
    assert_eq!(
        append(&log, vec![post("p3"), post("p9")]).await,
        [Outcome::Duplicate(4), Outcome::Duplicate(10)]
    );
    assert_eq!(disk.operations(), before);
}

#[tokio::test]
async fn an_append_waits_while_16_mib_are_pending() {
    let log = EmbeddedLog::open(Arc::new(MemoryDisk::new()), LogOptions::default()).await.unwrap();
    let large = |n: usize| vec![post_by("u", &format!("p{n}"), &"x".repeat(1024 * 1024))];
    let mut taken = Vec::new();
    for n in 0..15 {
        taken.push(log.append(large(n).into()).now_or_never().expect("there is room").unwrap());
    }
    let mut waiting = pin!(log.append(large(15).into()));
    assert!(waiting.as_mut().now_or_never().is_none(), "it was taken in beyond the limit");
    soon(waiting).await.unwrap().await.unwrap();
    assert_eq!(*log.head().borrow(), 16);
}

#[tokio::test]
async fn an_append_larger_than_all_the_room_is_accepted() {
    let log = EmbeddedLog::open(Arc::new(MemoryDisk::new()), LogOptions::default()).await.unwrap();
    let huge = post_by("u", "huge", &"x".repeat(PENDING_BYTES + 1));
    assert_eq!(soon(append(&log, vec![huge])).await, [Outcome::Created(1)]);
}

#[tokio::test]
async fn closing_stores_queued_appends_and_refuses_later_ones() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await.unwrap();
    let appending = log.append(vec![post("a")].into()).await.unwrap();
    soon(log.close()).await.unwrap();
    assert_eq!(appending.await.unwrap(), [Outcome::Created(1)]);
    assert!(matches!(log.append(vec![post("b")].into()).await, Err(LogError::Closed)));
    soon(log.close()).await.unwrap();
    assert_eq!(read_all(&open(&disk).await.unwrap()).await.len(), 1);
}

#[tokio::test]
async fn closing_ends_while_writers_keep_appending() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open_directory(&directory, LogOptions::default()).await.unwrap();
    let log = Arc::new(log);
    let mut writers = JoinSet::new();
    // Twice what one commit takes, so that an append is always queued.
    for _ in 0..2 * 4096 / 512 {
        let log = log.clone();
        writers.spawn(async move {
            while let Ok(appending) = log.append(vec![post("a"); 512].into()).await {
                appending.await.unwrap();
            }
        });
    }
    soon(log.head().wait_for(|head| *head > 0)).await.unwrap();
    soon(log.close()).await.unwrap();
    soon(writers.join_all()).await;
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_more_is_acknowledged() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await.unwrap();
    append(&log, vec![post("a")]).await;
    let failure = log.failure();
    assert!(failure.borrow().is_none());
    // The write works and the sync after it fails.
    disk.arm(1, Fault::Error(io::ErrorKind::StorageFull));
    let together =
        [log.append(vec![post("b")].into()).await, log.append(vec![post("b")].into()).await];
    for appending in together {
        let error = soon(appending.unwrap()).await.unwrap_err();
        assert!(error.is_full(), "{error}");
    }
    let later = soon(log.append(vec![post("a")].into()).await.unwrap()).await;
    assert!(matches!(later, Err(LogError::Failed(_))), "even a duplicate is refused: {later:?}");
    assert!(failure.borrow().is_some());
    assert_eq!(*log.head().borrow(), 1);
    assert_eq!(read_all(&log).await.len(), 1, "reads still work");
    assert!(matches!(soon(log.close()).await, Err(LogError::Failed(_))));
}

/// A disk, or a file on it, whose writes panic once a flag is set.
#[derive(Debug)]
struct Panicking<T: ?Sized> {
    inner: Arc<T>,
    panics: Arc<AtomicBool>,
}

impl Panicking<dyn Disk> {
    fn wrap(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Panicking { inner: file?, panics: self.panics.clone() }))
    }
}

impl Disk for Panicking<dyn Disk> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn blocks(&self) -> bool {
        self.inner.blocks()
    }

    fn lock(&self, access: Access) -> io::Result<LockGuard> {
        self.inner.lock(access)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(self.inner.create(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(self.inner.open(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }
}

impl DiskFile for Panicking<dyn DiskFile> {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::Relaxed), "the panic of this test");
        self.inner.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }
}

#[tokio::test]
async fn a_panic_in_the_writer_is_an_error_for_every_append() {
    let directory = tempfile::tempdir().unwrap();
    let disks: [Arc<dyn Disk>; 2] =
        [Arc::new(MemoryDisk::new()), Arc::new(RealDisk::new(directory.path()))];
    for disk in disks {
        let panics = Arc::<AtomicBool>::default();
        let disk = Arc::new(Panicking { inner: disk, panics: panics.clone() });
        let log = EmbeddedLog::open(disk, LogOptions::default()).await.unwrap();
        append(&log, vec![post("a")]).await;
        panics.store(true, Ordering::Relaxed);
        let appending = log.append(vec![post("b")].into()).await.unwrap();
        assert!(matches!(soon(appending).await, Err(LogError::Failed(_))));
        let later = log.append(vec![post("c")].into()).await.unwrap();
        assert!(matches!(soon(later).await, Err(LogError::Failed(_))));
        assert!(log.failure().borrow().is_some());
        assert!(soon(log.close()).await.is_err());
    }
}

#[tokio::test]
async fn a_segment_ends_when_the_next_batch_would_not_fit() {
    let disk = written().await;
    let names = segments(&disk);
    assert_eq!(
        names,
        ["00000000000000000001.log", "00000000000000000005.log", "00000000000000000009.log"]
    );
    assert!(names.iter().all(|name| disk.content(name).unwrap().len() <= 390));
    let log = open(&disk).await.unwrap();
    append(&log, vec![post_by("u", "larger than a segment", &"x".repeat(5000))]).await;
    append(&log, vec![post("after it")]).await;
    log.close().await.unwrap();
    assert_eq!(segments(&disk).len(), 5);
    assert_eq!(read_all(&open(&disk).await.unwrap()).await.len(), 14);
}

#[tokio::test]
async fn duplicates_are_known_after_a_restart() {
    let disk = written().await;
    let log = EmbeddedLog::open(Arc::new(disk), colliding()).await.unwrap();
    let posts = vec![post("p0"), post_by("alice", "p4", "other"), post("new")];
    let outcomes = append(&log, posts).await;
    assert_eq!(outcomes, [Outcome::Duplicate(1), Outcome::IdTaken, Outcome::Created(13)]);
}

#[tokio::test]
async fn a_log_keeps_its_id() {
    let disk = MemoryDisk::new();
    let log = EmbeddedLog::open(Arc::new(disk.clone()), LogOptions::default()).await.unwrap();
    log.close().await.unwrap();
    let again = EmbeddedLog::open(Arc::new(disk), LogOptions::default()).await.unwrap();
    assert_eq!(again.log_id(), log.log_id());
    let other =
        EmbeddedLog::open(Arc::new(MemoryDisk::new()), LogOptions::default()).await.unwrap();
    assert_ne!(other.log_id(), log.log_id());
    assert_eq!(log.log_id().len(), 32);
}

// ---- one process at a time

async fn one_writer_or_many_readers(disk: Arc<dyn Disk>) {
    let writer = EmbeddedLog::open(disk.clone(), small_segments()).await.unwrap();
    for options in [small_segments(), to_read()] {
        let error = EmbeddedLog::open(disk.clone(), options).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&disk.name()), "{error}");
    }
    append(&writer, vec![post("a")]).await;
    writer.close().await.unwrap();
    let first = EmbeddedLog::open(disk.clone(), to_read()).await.unwrap();
    let second = EmbeddedLog::open(disk.clone(), to_read()).await.unwrap();
    assert_eq!(read_all(&first).await, read_all(&second).await);
    let error = EmbeddedLog::open(disk.clone(), small_segments()).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop((first, second));
    EmbeddedLog::open(disk, small_segments()).await.unwrap();
}

#[tokio::test]
async fn a_log_has_one_writer_or_many_readers() {
    let directory = tempfile::tempdir().unwrap();
    one_writer_or_many_readers(Arc::new(RealDisk::new(directory.path().join("made/for/it")))).await;
    one_writer_or_many_readers(Arc::new(MemoryDisk::new())).await;
}

#[tokio::test]
async fn opening_for_reading_creates_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let error = EmbeddedLog::open_directory(&directory, to_read()).await.unwrap_err();
    assert!(matches!(error, OpenError::NoLog { .. }), "{error}");
    let missing = directory.path().join("missing");
    let error = EmbeddedLog::open_directory(&missing, to_read()).await.unwrap_err();
    assert!(matches!(error, OpenError::NoLog { .. }), "{error}");
    assert!(!missing.exists());
    assert_eq!(list(directory.path()), BTreeSet::new());
}

fn list(directory: &Path) -> BTreeSet<std::ffi::OsString> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

// ---- crashes

/// Appends that start new segments and include duplicates, two to a commit. Returns the
/// acknowledged posts, up to the first failure.
async fn workload(disk: &MemoryDisk) -> Vec<(NewPost, u64)> {
    let mut acknowledged = Vec::new();
    let Ok(log) = open(disk).await else { return acknowledged };
    for group in sent().chunks(3) {
        // Two appends queued together end in one commit.
        let (some, others) = group.split_at(2);
        let taken =
            [log.append(some.to_vec().into()).await, log.append(others.to_vec().into()).await];
        let Ok(outcomes) = try_join_all(taken.map(Result::unwrap)).await else { break };
        for (post, outcome) in group.iter().zip(outcomes.concat()) {
            let (Outcome::Created(sequence) | Outcome::Duplicate(sequence)) = outcome else {
                panic!("{outcome:?}")
            };
            acknowledged.push((post.clone(), sequence));
        }
    }
    let _ = log.close().await;
    acknowledged
}

fn sent() -> Vec<NewPost> {
    let size = |n: usize| [10, 300, 900, 40][n % 4];
    let post =
        |n: usize| post_by("u", &format!("p{}", n - n % 5 / 4), &"x".repeat(size(n - n % 5 / 4)));
    (0..24).map(post).collect()
}

/// Checks that the log holds every acknowledged post at its sequence, no post twice, and no post
/// that was not sent.
async fn check(log: &EmbeddedLog, acknowledged: &[(NewPost, u64)]) -> Vec<Record> {
    let records = read_all(log).await;
    let found = by_id(&records);
    for (post, sequence) in acknowledged {
        let record = found.get(post.post_id()).expect("an acknowledged post is lost");
        assert_eq!((record.sequence, &record.post), (*sequence, post.stored()));
    }
    assert!(records.iter().all(|record| sent().iter().any(|post| post.stored() == &record.post)));
    records
}

#[tokio::test]
async fn a_crash_at_any_moment_loses_nothing_that_was_acknowledged_or_seen() {
    for moment in 0.. {
        let disk = MemoryDisk::new();
        disk.arm(moment, Fault::PowerLoss);
        let acknowledged = workload(&disk).await;
        for seed in 0..6 {
            let rng = &mut StdRng::seed_from_u64(seed);
            let found = disk.crash(rng);
            let log = open(&found).await.expect("a log opens after a crash");
            let seen = check(&log, &acknowledged).await;
            // A post that was read survives another crash, without any append in between.
            let log = open(&found.crash(rng)).await.unwrap();
            assert_eq!(check(&log, &acknowledged).await[..seen.len()], seen[..]);
            // Posts that were not acknowledged can be sent again, and are stored once.
            append(&log, sent()).await;
            check(&log, &acknowledged).await;
        }
        if disk.operations() <= moment {
            assert!(moment > 30, "the workload writes several segments");
            return;
        }
    }
}

#[tokio::test]
async fn after_a_failed_operation_a_reopened_log_serves_only_durable_posts() {
    for moment in 0.. {
        let disk = MemoryDisk::new();
        disk.arm(moment, Fault::Error(io::ErrorKind::Other));
        let acknowledged = workload(&disk).await;
        // The same disk, which still shows data that the failed fsync never saved.
        let log = match open(&disk).await {
            Ok(log) => log,
            Err(_) => open(&disk).await.expect("a log opens after a failed operation"),
        };
        let seen = check(&log, &acknowledged).await;
        for seed in 0..4 {
            let log = open(&disk.crash(&mut StdRng::seed_from_u64(seed))).await.unwrap();
            assert_eq!(check(&log, &acknowledged).await, seen);
        }
        if disk.operations() <= moment {
            return;
        }
    }
}

#[tokio::test]
async fn a_last_batch_torn_at_any_byte_is_cut_off() {
    let disk = written().await;
    let name = segments(&disk).pop().unwrap();
    let whole = disk.content(&name).unwrap();
    for length in last_batch(&whole)..whole.len() {
        for zeros in [0, 1, 700] {
            let mut torn = whole[..length].to_vec();
            torn.resize(length + zeros, 0);
            if torn.starts_with(&whole) {
                continue; // the missing bytes were zeros
            }
            disk.replace(&name, torn);
            let log = open(&disk).await.unwrap();
            assert_eq!(*log.head().borrow(), 10, "{length} bytes and {zeros} zeros");
            log.close().await.unwrap();
            assert_eq!(disk.content(&name).unwrap(), whole[..last_batch(&whole)]);
        }
    }
}

#[tokio::test]
async fn an_incomplete_file_is_removed() {
    let disk = written().await;
    disk.replace("00000000000000000009.log.tmp", b"half a copy".to_vec());
    disk.replace("00000000000000000011.log.tmp", Vec::new());
    disk.replace("notes.tmp", b"of another program".to_vec());
    let log = open(&disk).await.unwrap();
    assert_eq!(read_all(&log).await.len(), 12);
    let names = disk.list().unwrap();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>(),
        ["notes.tmp"]
    );
}

// ---- damage

/// Flips each byte of a log in turn and calls `check` with the disk, the file, the offset, and
/// whether the byte is in the last batch.
async fn flip_each(mut check: impl AsyncFnMut(&MemoryDisk, &str, usize, bool)) {
    let whole = written().await;
    let names = segments(&whole);
    for name in &names {
        let content = whole.content(name).unwrap();
        for offset in 0..content.len() {
            let in_last_batch = name == names.last().unwrap() && offset >= last_batch(&content);
            let disk = written().await;
            flip(&disk, name, offset);
            check(&disk, name, offset, in_last_batch).await;
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_is_refused_by_file_and_offset_unless_it_looks_like_a_torn_batch() {
    flip_each(async |disk, name, offset, in_last_batch| {
        if in_last_batch {
            let log = open(disk).await.unwrap();
            assert_eq!(*log.head().borrow(), 10);
            return;
        }
        let (file, place, what) = refused(disk).await;
        assert_eq!(file, name, "{what}");
        let distance = offset.checked_sub(place as usize);
        assert!(distance.is_some_and(|n| n < 80), "flipped {offset}, reported {place}: {what}");
    })
    .await;
}

#[tokio::test]
async fn a_damaged_log_is_served_up_to_the_damage_and_not_changed() {
    let whole = read_all(&open(&written().await).await.unwrap()).await;
    flip_each(async |disk, name, offset, _| {
        let before = disk.operations();
        let Ok(log) = EmbeddedLog::open(Arc::new(disk.clone()), to_read()).await else {
            assert!(
                name.ends_with("01.log") && offset < segment::HEADER_LEN,
                "only the first header is needed"
            );
            return;
        };
        let head = *log.head().borrow();
        assert_eq!(read_all(&log).await, whole[..head as usize]);
        let start = segment::base_of(name).unwrap() - 1;
        assert!(
            (start..start + 4).contains(&head),
            "all before {name}, and none from the damage on"
        );
        assert!(matches!(log.append(vec![post("new")].into()).await, Err(LogError::ReadOnly)));
        log.close().await.unwrap();
        assert_eq!(disk.operations(), before);
    })
    .await;
}

#[tokio::test]
async fn missing_and_foreign_segments_are_refused() {
    for gone in [0, 1] {
        let disk = written().await;
        let names = segments(&disk);
        disk.remove(&names[gone]).unwrap();
        let (file, _, what) = refused(&disk).await;
        assert_eq!(file, names[gone + 1]);
        assert!(what.contains("posts are missing"), "{what}");
    }
    let disk = written().await;
    let stranger = Identity { log_id: 8, salt: 11 };
    let start = segment::SegmentStart { base: 13, chain: 0 };
    disk.replace("00000000000000000013.log", segment::encode_header(&stranger, start));
    let (file, _, what) = refused(&disk).await;
    assert_eq!(
        (file.as_str(), what.as_str()),
        ("00000000000000000013.log", "the segment belongs to another log")
    );
    let misnamed = disk.content("00000000000000000005.log").unwrap();
    disk.replace("00000000000000000009.log", misnamed);
    assert_eq!(refused(&disk).await.0, "00000000000000000009.log");
}

#[tokio::test]
async fn a_batch_that_is_missing_within_a_segment_is_refused() {
    let disk = written().await;
    let name = segments(&disk).remove(0);
    let mut content = disk.content(&name).unwrap();
    let second = last_batch(&content);
    content.drain(segment::HEADER_LEN..second);
    disk.replace(&name, content);
    let (file, offset, what) = refused(&disk).await;
    assert_eq!((file, offset), (name, segment::HEADER_LEN as u64), "{what}");
}

#[tokio::test]
async fn a_newer_format_version_is_refused_by_its_number() {
    let disk = written().await;
    flip(&disk, "00000000000000000001.log", 9);
    assert!(refused(&disk).await.2.contains("format version 4098"));
}

#[tokio::test]
async fn an_older_format_version_is_refused_by_its_number() {
    let disk = written().await;
    let name = "00000000000000000001.log";
    let mut content = disk.content(name).unwrap();
    content[8] = 1;
    disk.replace(name, content);
    let (file, _, what) = refused(&disk).await;
    assert_eq!((file.as_str(), what.as_str()), (name, "format version 1, where only 2 is known"));
}

/// It has the name of this log, and continues other posts under the same sequences.
#[tokio::test]
async fn a_segment_of_another_copy_of_the_log_is_refused() {
    let disk = written().await;
    let name = segments(&disk).remove(1);
    let mut content = disk.content(&name).unwrap();
    let (identity, start) = segment::decode_header(&content).unwrap();
    let other = segment::SegmentStart { chain: start.chain ^ 1, ..start };
    content.splice(..segment::HEADER_LEN, segment::encode_header(&identity, other));
    disk.replace(&name, content);
    let (file, offset, what) = refused(&disk).await;
    let words = "the segment continues other posts than those before it";
    assert_eq!((file, offset, what.as_str()), (name, 56, words));
}

#[tokio::test]
async fn a_post_cannot_forge_a_batch() {
    let disk = MemoryDisk::new();
    let log = open(&disk).await.unwrap();
    // A client that knows the format, but not the salt, sends a post that contains a batch.
    let checksum = segment::post_checksum(b"x");
    let record = [&segment::record_header(2, 1, checksum, 1)[..], b"x"].concat();
    let header = segment::BatchHeader { count: 1, first: 2, length: record.len() as u64 };
    let mut forger = post("forged");
    forger.stored =
        [forger.stored(), &header.encode(&Identity::random())[..], &record].concat().into();
    append(&log, vec![forger]).await;
    log.close().await.unwrap();
    // The header of the real batch is torn, the post is not.
    flip(&disk, "00000000000000000001.log", segment::HEADER_LEN);
    assert_eq!(*open(&disk).await.unwrap().head().borrow(), 0);
}

#[tokio::test]
async fn damage_under_a_running_log_ends_the_read_that_meets_it() {
    let disk = written().await;
    let log = open(&disk).await.unwrap();
    let name = "00000000000000000005.log";
    let content = disk.content(name).unwrap();
    let at = content.windows(10).position(|window| window == b"body of p6").unwrap();
    flip(&disk, name, at);
    assert_eq!(log.read(4, ALL).await.unwrap().len(), 2, "p4 and p5 precede it");
    let LogError::Damaged { file, offset, .. } = log.read(6, ALL).await.unwrap_err() else {
        panic!("expected damage")
    };
    assert!(file == name && (offset as usize) < at && at - (offset as usize) < 80);
    assert_eq!(log.read(7, ALL).await.unwrap().len(), 5, "posts after the damage can be read");
    let page = log.read_user("alice", 0, ALL).await.unwrap();
    assert_eq!((page.records.len(), page.position, page.more), (6, 6, true));
    // The id of the damaged post cannot be read, so a post that may have it is refused.
    let appending = log.append(vec![post("p6")].into()).await.unwrap();
    assert!(matches!(appending.await, Err(LogError::Damaged { .. })));
}

#[tokio::test]
async fn a_file_missing_under_a_running_log_is_an_error() {
    let disk = written().await;
    let log = open(&disk).await.unwrap();
    disk.replace("00000000000000000001.log", Vec::new());
    assert!(matches!(log.read(0, ALL).await, Err(LogError::Damaged { .. })));
    disk.remove("00000000000000000001.log").unwrap();
    assert!(matches!(log.read(0, ALL).await, Err(LogError::Damaged { .. })));
}
