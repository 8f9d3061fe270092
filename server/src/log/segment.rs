//! The format of a segment file: how posts become bytes, and how bytes are trusted again.
//!
//! A segment is a header and batches; a batch is a header and records; a record is one post. All numbers are
//! little-endian. `docs/reference/log-format.md` draws it byte by byte.
//!
//! - A header carries a keyed checksum. The key is the log's salt, which no client ever sees, so that nothing inside a
//!   post can pass for a header.
//! - A record carries a CRC-32C over its length, its post and its sequence: it can be read and trusted alone, and not
//!   in another place.
//!
//! Not here: files (`disk.rs`), and what to do about damage (`recovery.rs`).

use std::{fmt, hash::Hasher, ops::Range};

use siphasher::sip::SipHasher13;

/// Bytes before the first batch.
pub(super) const HEADER_LEN: usize = 64;
pub(super) const BATCH_HEADER_LEN: usize = 32;
pub(super) const RECORD_HEADER_LEN: usize = 8;

const MAGIC: &[u8; 8] = b"QUARTET\n";
const BATCH_MAGIC: &[u8; 4] = b"BTCH";
const VERSION: u32 = 1;

/// What is said of a record that is not what was written.
pub(super) const BAD_RECORD: &str = "a record does not match its checksum";

/// What makes a log this one and no other: the same in all of its segments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The log's public name.
    pub log_id: u128,
    /// The key of its checksums and of its index. It stays secret, so that nobody can choose colliding ids.
    pub salt: u128,
}

impl fmt::Debug for Identity {
    /// Leaves the salt out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("log_id", &self.log_id).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new log's.
    pub fn random() -> Self {
        Self { log_id: rand::random(), salt: rand::random() }
    }

    /// A hash that only those who know the salt can compute.
    pub(super) fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.salt.to_le_bytes());
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The file that starts with this sequence.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The sequence that a file of this name starts with, if it is a segment.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let base = name.strip_suffix(".log")?.parse().ok()?;
    (name == file_name(base)).then_some(base)
}

/// The first bytes of a segment.
pub(super) fn encode_header(identity: &Identity, base: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&identity.log_id.to_be_bytes()); // reads like its hex in a dump
    header.extend_from_slice(&identity.salt.to_le_bytes());
    header.extend_from_slice(&base.to_le_bytes());
    header.extend_from_slice(&identity.keyed_hash(&header).to_le_bytes());
    header
}

/// Whose segment this is and where it starts, or what is wrong with its header.
pub(super) fn decode_header(segment: &[u8]) -> Result<(Identity, u64), String> {
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
    if identity.keyed_hash(&header[..56]) != u64::from_le_bytes(array(header, 56)) {
        return Err("the segment header does not match its checksum".to_owned());
    }
    Ok((identity, u64::from_le_bytes(array(header, 48))))
}

/// What precedes the records of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchHeader {
    pub(super) count: u32,
    /// The sequence of the first one.
    pub(super) first: u64,
    /// Bytes of the records.
    pub(super) length: u64,
}

impl BatchHeader {
    pub(super) fn encode(&self, identity: &Identity) -> [u8; BATCH_HEADER_LEN] {
        let mut header = [0; BATCH_HEADER_LEN];
        header[..4].copy_from_slice(BATCH_MAGIC);
        header[4..8].copy_from_slice(&self.count.to_le_bytes());
        header[8..16].copy_from_slice(&self.first.to_le_bytes());
        header[16..24].copy_from_slice(&self.length.to_le_bytes());
        let checksum = identity.keyed_hash(&header[..24]);
        header[24..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Bytes of the whole batch.
    fn batch_len(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX).saturating_add(BATCH_HEADER_LEN)
    }

    /// The header at the start of `bytes`, if there is one that this log wrote.
    fn decode(identity: &Identity, bytes: &[u8]) -> Option<Self> {
        let header: &[u8; BATCH_HEADER_LEN] = bytes.first_chunk()?;
        let ours = header.starts_with(BATCH_MAGIC)
            && identity.keyed_hash(&header[..24]) == u64::from_le_bytes(array(header, 24));
        ours.then(|| Self {
            count: u32::from_le_bytes(array(header, 4)),
            first: u64::from_le_bytes(array(header, 8)),
            length: u64::from_le_bytes(array(header, 16)),
        })
    }
}

/// What precedes the post of a record, whose [`post_checksum`] this is.
pub(super) fn record_header(
    sequence: u64,
    length: u32,
    post_checksum: u32,
) -> [u8; RECORD_HEADER_LEN] {
    let checksum = record_checksum(post_checksum, sequence);
    (u64::from(checksum) << 32 | u64::from(length)).to_le_bytes()
}

/// Where the post of this sequence stands in a record at the start of `bytes`, if that is what is there.
pub(super) fn decode_record(bytes: &[u8], sequence: u64) -> Option<Range<usize>> {
    let header: &[u8; RECORD_HEADER_LEN] = bytes.first_chunk()?;
    let length = u32::from_le_bytes(array(header, 0));
    let range = RECORD_HEADER_LEN..RECORD_HEADER_LEN.checked_add(length as usize)?;
    let post = bytes.get(range.clone())?;
    let checksum = u32::from_le_bytes(array(header, 4));
    (record_checksum(post_checksum(post), sequence) == checksum).then_some(range)
}

/// The part of a record's checksum for which its sequence need not be known: of its length and its post.
pub(super) fn post_checksum(post: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&(post.len() as u32).to_le_bytes()), post)
}

fn record_checksum(post_checksum: u32, sequence: u64) -> u32 {
    crc32c::crc32c_append(post_checksum, &sequence.to_le_bytes())
}

/// How far a segment can be trusted.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where its records stand, in order.
    pub(super) records: Vec<Range<u32>>,
    /// Where the whole batches end.
    pub(super) end: usize,
    /// What is wrong there, if anything follows.
    pub(super) flaw: Option<Flaw>,
}

/// Why a batch cannot be trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Where it shows, from the start of the segment.
    pub(super) offset: usize,
    pub(super) what: &'static str,
    /// Whether a write that a crash interrupted explains it: nothing whole and nothing foreign follows.
    pub(super) torn: bool,
}

/// Finds the records of a segment, batch by batch, up to the first flaw.
pub(super) fn scan(identity: &Identity, base: u64, segment: &[u8]) -> Scan {
    let mut scan = Scan { records: Vec::new(), end: HEADER_LEN, flaw: None };
    while scan.end < segment.len() && scan.flaw.is_none() {
        let next = base + scan.records.len() as u64;
        match check_batch(identity, next, &segment[scan.end..]) {
            Ok(posts) => {
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

/// Where the post of a record stands.
pub(super) fn post_of(record: &Range<u32>) -> Range<usize> {
    record.start as usize + RECORD_HEADER_LEN..record.end as usize
}

/// Where the posts of the batch at the start of `bytes` stand. `bytes` go on to the end of the segment.
fn check_batch(identity: &Identity, next: u64, bytes: &[u8]) -> Result<Vec<Range<usize>>, Flaw> {
    let Some(header) = BatchHeader::decode(identity, bytes) else {
        let torn = !holds_batch_header(identity, &bytes[1..]);
        return Err(Flaw { offset: 0, what: "no batch starts here", torn });
    };
    if header.first != next || header.count == 0 {
        let what = "a batch with other sequences stands here";
        return Err(Flaw { offset: 0, what, torn: false });
    }
    let (batch, rest) = bytes.split_at(header.batch_len().min(bytes.len()));
    check_records(&header, batch).map_err(|offset| {
        // Whoever tore this batch had not begun another one: only unwritten bytes may follow it.
        let torn = rest.iter().all(|byte| *byte == 0);
        Flaw { offset, what: BAD_RECORD, torn }
    })
}

/// Where the posts of a batch stand, or where the first bad record starts.
fn check_records(header: &BatchHeader, batch: &[u8]) -> Result<Vec<Range<usize>>, usize> {
    let mut posts = Vec::with_capacity(batch.len() / 64);
    let mut at = BATCH_HEADER_LEN;
    for sequence in (header.first..).take(header.count as usize) {
        let post = decode_record(&batch[at..], sequence).ok_or(at)?;
        posts.push(at + post.start..at + post.end);
        at += post.end;
    }
    if at == header.batch_len() { Ok(posts) } else { Err(at) }
}

fn holds_batch_header(identity: &Identity, bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| BatchHeader::decode(identity, &bytes[at..]).is_some())
}

/// The `N` bytes at `offset` of a header that is long enough.
fn array<const N: usize>(header: &[u8], offset: usize) -> [u8; N] {
    std::array::from_fn(|n| header[offset + n])
}
