//! The format of a segment file: encoding posts, and checking bytes that are read back.
//!
//! A segment is a header and batches; a batch is a header and records; a record is one post. All
//! numbers are little-endian. `docs/reference/log-format.md` draws it byte by byte.
//!
//! - A header carries a keyed checksum. The key is the log's salt, which clients never see, so no
//!   post can contain a valid header.
//! - A record carries a CRC-32C over its length, its post, its sequence and its chain value: it is
//!   valid on its own, and only at its own position.
//! - A record carries the [`chain`] value of all records up to it, so that two logs with the same
//!   name that diverged are told apart.
//!
//! Not here: files (`disk.rs`), and what follows from damage (`recovery.rs`).

use std::{fmt, hash::Hasher, ops::Range};

use siphasher::sip::SipHasher13;

/// Bytes of the segment header, which precedes the first batch.
pub(crate) const HEADER_LEN: usize = 72;
pub(crate) const BATCH_HEADER_LEN: usize = 32;
pub(crate) const RECORD_HEADER_LEN: usize = 16;

const MAGIC: &[u8; 8] = b"QUARTET\n";
const BATCH_MAGIC: &[u8; 4] = b"BTCH";
const VERSION: u32 = 2;

/// The description of a damaged record.
pub(crate) const BAD_RECORD: &str = "a record does not match its checksum";

/// The identity of a log, the same in all of its segments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The public name of the log.
    pub log_id: u128,
    /// The key of its checksums and of its id index. Secret, so that clients cannot forge headers
    /// or choose colliding ids.
    pub salt: u128,
}

impl fmt::Debug for Identity {
    /// Leaves the salt out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("log_id", &self.log_id).finish_non_exhaustive()
    }
}

impl Identity {
    /// A random identity, for a new log.
    pub fn random() -> Self {
        Self { log_id: rand::random(), salt: rand::random() }
    }

    /// A hash keyed with the salt.
    pub(crate) fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.salt.to_le_bytes());
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The name of the segment that starts with this sequence.
pub(crate) fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The first sequence of the segment with this name, if it is the name of a segment.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    let base = name.strip_suffix(".log")?.parse().ok()?;
    (name == file_name(base)).then_some(base)
}

/// The chain value after a record, from the value before it and the [`post_checksum`] of its post.
///
/// The value before the first record is 0, and none after it is: 0 means "not checked" in a
/// position. The mix is the output function of SplitMix64 (Steele, Lea and Flood 2014; public
/// domain), a bijection in which every input bit changes about half of the output bits. So the
/// order of records counts, and equal records in equal order have equal values in every log.
pub(crate) fn chain(before: u64, post_checksum: u32) -> u64 {
    let mut mixed = (before ^ u64::from(post_checksum)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

/// What the header of a segment says beside the log that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    /// The first sequence.
    pub(crate) base: u64,
    /// The chain value before it.
    pub(crate) chain: u64,
}

/// The header of a segment.
pub(crate) fn encode_header(identity: &Identity, start: SegmentStart) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&identity.log_id.to_be_bytes()); // reads like its hex in a dump
    header.extend_from_slice(&identity.salt.to_le_bytes());
    header.extend_from_slice(&start.base.to_le_bytes());
    header.extend_from_slice(&start.chain.to_le_bytes());
    header.extend_from_slice(&identity.keyed_hash(&header).to_le_bytes());
    header
}

/// The log and the start of a segment, or what is wrong with its header.
pub(crate) fn decode_header(segment: &[u8]) -> Result<(Identity, SegmentStart), String> {
    let header: &[u8; HEADER_LEN] = segment.first_chunk().ok_or("the segment header is cut off")?;
    if !header.starts_with(MAGIC) {
        return Err("this is not a segment of a log".to_owned());
    }
    let version = u32::from_le_bytes(array(header, 8));
    if version != VERSION {
        return Err(format!("format version {version}, where only {VERSION} is known"));
    }
    let log_id = u128::from_be_bytes(array(header, 16));
    let identity = Identity { log_id, salt: u128::from_le_bytes(array(header, 32)) };
    if identity.keyed_hash(&header[..64]) != u64::from_le_bytes(array(header, 64)) {
        return Err("the segment header does not match its checksum".to_owned());
    }
    let [base, chain] = [48, 56].map(|at| u64::from_le_bytes(array(header, at)));
    Ok((identity, SegmentStart { base, chain }))
}

/// The header of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchHeader {
    /// Number of records.
    pub(crate) count: u32,
    /// The sequence of the first record.
    pub(crate) first: u64,
    /// Bytes of the records.
    pub(crate) length: u64,
}

impl BatchHeader {
    pub(crate) fn encode(&self, identity: &Identity) -> [u8; BATCH_HEADER_LEN] {
        let mut header = [0; BATCH_HEADER_LEN];
        header[..4].copy_from_slice(BATCH_MAGIC);
        header[4..8].copy_from_slice(&self.count.to_le_bytes());
        header[8..16].copy_from_slice(&self.first.to_le_bytes());
        header[16..24].copy_from_slice(&self.length.to_le_bytes());
        let checksum = identity.keyed_hash(&header[..24]);
        header[24..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Bytes of the whole batch, header included.
    fn batch_len(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX).saturating_add(BATCH_HEADER_LEN)
    }

    /// The header at the start of `bytes`, if this log wrote one there.
    fn decode(identity: &Identity, bytes: &[u8]) -> Option<Self> {
        let header: &[u8; BATCH_HEADER_LEN] = bytes.first_chunk()?;
        let valid = header.starts_with(BATCH_MAGIC)
            && identity.keyed_hash(&header[..24]) == u64::from_le_bytes(array(header, 24));
        valid.then(|| Self {
            count: u32::from_le_bytes(array(header, 4)),
            first: u64::from_le_bytes(array(header, 8)),
            length: u64::from_le_bytes(array(header, 16)),
        })
    }
}

/// The header of a record, from the [`post_checksum`] of its post and its [`chain`] value.
pub(crate) fn record_header(
    sequence: u64,
    length: u32,
    post_checksum: u32,
    chain: u64,
) -> [u8; RECORD_HEADER_LEN] {
    let mut header = [0; RECORD_HEADER_LEN];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&record_checksum(post_checksum, sequence, chain).to_le_bytes());
    header[8..].copy_from_slice(&chain.to_le_bytes());
    header
}

/// The chain value in a record that is known to be valid.
pub(crate) fn chain_of(record: &[u8]) -> u64 {
    u64::from_le_bytes(array(record, 8))
}

/// A valid record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ValidRecord {
    /// The range of its post, from the start of the record.
    pub(crate) post: Range<usize>,
    pub(crate) post_checksum: u32,
    pub(crate) chain: u64,
}

/// The record at the start of `bytes`, if it is a valid one of this sequence. Its chain value is
/// the one that was written; whether it follows from the record before is for [`scan`].
pub(crate) fn decode_record(bytes: &[u8], sequence: u64) -> Option<ValidRecord> {
    let header: &[u8; RECORD_HEADER_LEN] = bytes.first_chunk()?;
    let length = u32::from_le_bytes(array(header, 0));
    let range = RECORD_HEADER_LEN..RECORD_HEADER_LEN.checked_add(length as usize)?;
    let post_checksum = post_checksum(bytes.get(range.clone())?);
    let (checksum, chain) = (u32::from_le_bytes(array(header, 4)), chain_of(header));
    let valid = record_checksum(post_checksum, sequence, chain) == checksum;
    valid.then_some(ValidRecord { post: range, post_checksum, chain })
}

/// The part of a record's checksum that does not depend on its place in a log: over its length and
/// its post.
pub(crate) fn post_checksum(post: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&(post.len() as u32).to_le_bytes()), post)
}

fn record_checksum(post_checksum: u32, sequence: u64, chain: u64) -> u32 {
    let place = u128::from(chain) << 64 | u128::from(sequence);
    crc32c::crc32c_append(post_checksum, &place.to_le_bytes())
}

/// The valid part of a segment.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The ranges of its records, in order.
    pub(crate) records: Vec<Range<u32>>,
    /// The chain value after them.
    pub(crate) chain: u64,
    /// The offset at which the last whole batch ends.
    pub(crate) end: usize,
    /// What is wrong at `end`, if anything follows it.
    pub(crate) flaw: Option<Flaw>,
}

/// Why a batch is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// The offset of the flaw in the segment.
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
    /// Whether a write that a crash interrupted explains it: nothing valid and nothing foreign
    /// follows.
    pub(crate) torn: bool,
}

/// Finds the records of a segment, batch by batch, up to the first flaw.
pub(crate) fn scan(identity: &Identity, start: SegmentStart, segment: &[u8]) -> Scan {
    let (chain, end) = (start.chain, HEADER_LEN);
    let mut scan = Scan { records: Vec::new(), chain, end, flaw: None };
    while scan.end < segment.len() && scan.flaw.is_none() {
        let base = start.base + scan.records.len() as u64;
        let next = SegmentStart { base, chain: scan.chain };
        match check_batch(identity, next, &segment[scan.end..]) {
            Ok((posts, chain)) => {
                scan.chain = chain;
                let start = scan.end;
                let record = |post: Range<usize>| {
                    (start + post.start - RECORD_HEADER_LEN) as u32..(start + post.end) as u32
                };
                scan.records.extend(posts.into_iter().map(record));
                scan.end = scan.records.last().map_or(start, |record| record.end as usize);
            }
            Err(flaw) => scan.flaw = Some(Flaw { offset: scan.end + flaw.offset, ..flaw }),
        }
    }
    scan
}

/// The range of the post in a record.
pub(crate) fn post_of(record: &Range<u32>) -> Range<usize> {
    record.start as usize + RECORD_HEADER_LEN..record.end as usize
}

/// The ranges of the posts in the batch at the start of `bytes`, which extend to the end of the
/// segment, and the chain value after them.
fn check_batch(
    identity: &Identity,
    next: SegmentStart,
    bytes: &[u8],
) -> Result<(Vec<Range<usize>>, u64), Flaw> {
    let Some(header) = BatchHeader::decode(identity, bytes) else {
        let torn = !holds_batch_header(identity, &bytes[1..]);
        return Err(Flaw { offset: 0, what: "no batch starts here", torn });
    };
    if header.first != next.base || header.count == 0 {
        let what = "a batch with other sequences stands here";
        return Err(Flaw { offset: 0, what, torn: false });
    }
    let (batch, rest) = bytes.split_at(header.batch_len().min(bytes.len()));
    check_records(&header, next.chain, batch).map_err(|offset| {
        // A batch is written only after the one before is durable, so only unwritten bytes may
        // follow a torn one.
        let torn = rest.iter().all(|byte| *byte == 0);
        Flaw { offset, what: BAD_RECORD, torn }
    })
}

/// The ranges of the posts in a batch and the chain value after them, or the offset of the first
/// bad record.
fn check_records(
    header: &BatchHeader,
    mut before: u64,
    batch: &[u8],
) -> Result<(Vec<Range<usize>>, u64), usize> {
    let mut posts = Vec::with_capacity(batch.len() / 64);
    let mut at = BATCH_HEADER_LEN;
    for sequence in (header.first..).take(header.count as usize) {
        let record = decode_record(&batch[at..], sequence)
            .filter(|record| record.chain == chain(before, record.post_checksum))
            .ok_or(at)?;
        before = record.chain;
        posts.push(at + record.post.start..at + record.post.end);
        at += record.post.end;
    }
    if at == header.batch_len() { Ok((posts, before)) } else { Err(at) }
}

fn holds_batch_header(identity: &Identity, bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| BatchHeader::decode(identity, &bytes[at..]).is_some())
}

/// The `N` bytes at `offset` of a header that is long enough.
fn array<const N: usize>(header: &[u8], offset: usize) -> [u8; N] {
    std::array::from_fn(|n| header[offset + n])
}
