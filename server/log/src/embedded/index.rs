//! What is kept in memory for every post: its offset, its writer, and the hash of its id.
//!
//! Nothing here is stored; recovery rebuilds it from the segments when the log opens.
//! `docs/reference/log-format.md` lists the cost per post.

use std::{
    hash::RandomState,
    ops::{Range, RangeInclusive},
};

use hashbrown::{HashMap, HashTable};

use super::blocks::BLOCK_BYTES;
use crate::{records::Limit, segment::Identity};

/// Most posts in one log. Sequences have 32 bits here, which halves the index; at the limit it
/// would take 100 GiB.
pub(super) const MAX_POSTS: u64 = u32::MAX as u64;

/// Most bytes that one read takes from the disk, whatever its limit (a single post may be larger).
const READ_BYTES: usize = 1024 * 1024;

/// Where posts stand, and who wrote them.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: Vec<SegmentIndex>,
    /// Users to their numbers.
    users: HashMap<String, u32, RandomState>,
    /// Numbers of users to the sequences of their posts.
    posts: Vec<Vec<u32>>,
}

/// The offset of a record in its file, and the number of its post's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordEntry {
    pub(super) start: u32,
    pub(super) user: u32,
}

/// The records of a segment that holds posts.
#[derive(Debug)]
struct SegmentIndex {
    base: u64,
    /// In the order of their sequences.
    records: Vec<RecordEntry>,
    /// The offset at which the last record ends.
    end: u32,
}

/// Posts with adjacent sequences in one segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first sequence of the segment, which names its file.
    pub(super) base: u64,
    /// The sequence of the first post.
    pub(super) first: u64,
    /// Their records.
    pub(super) records: Vec<RecordEntry>,
    /// The offset at which the last one ends. A batch header may stand between two records.
    pub(super) end: u32,
}

impl Index {
    /// Adds the next post: its record stands at `place` in the segment that starts with sequence
    /// `base`.
    pub(super) fn push(&mut self, base: u64, place: Range<u64>, user_id: &str) {
        let (sequence, user) = (self.last() + 1, self.number(user_id));
        self.posts[user as usize].push(narrow(sequence));
        let segment = self.segment(base);
        segment.records.push(RecordEntry { start: narrow(place.start), user });
        segment.end = narrow(place.end);
    }

    /// The number of a user; a new user gets the next one.
    fn number(&mut self, user_id: &str) -> u32 {
        let next = self.posts.len() as u32;
        let number = *self.users.entry_ref(user_id).or_insert(next);
        if number == next {
            self.posts.push(Vec::new());
        }
        number
    }

    /// The newest segment, which is added if its base is new.
    fn segment(&mut self, base: u64) -> &mut SegmentIndex {
        if self.segments.last().is_none_or(|newest| newest.base != base) {
            if let Some(full) = self.segments.last_mut() {
                full.records.shrink_to_fit();
            }
            self.segments.push(SegmentIndex { base, records: Vec::new(), end: 0 });
        }
        self.segments.last_mut().expect("invariant: it was added above")
    }

    /// The newest sequence.
    pub(super) fn last(&self) -> u64 {
        self.segments.last().map_or(0, SegmentIndex::last)
    }

    /// The sequences of a user's posts after `after`.
    pub(super) fn of_user(&self, user_id: &str, after: u64) -> &[u32] {
        let Some(user) = self.users.get(user_id) else { return &[] };
        let sequences = &self.posts[*user as usize];
        &sequences[sequences.partition_point(|sequence| u64::from(*sequence) <= after)..]
    }

    /// Where posts with these sequences, which are in order, stand: as many as the limit allows,
    /// and at least one.
    pub(super) fn runs(&self, sequences: impl Iterator<Item = u64>, limit: Limit) -> Vec<Run> {
        let (mut runs, mut bytes) = (Vec::<Run>::new(), 0);
        for sequence in sequences.take(limit.posts) {
            let (base, entry, end) = self.locate(sequence);
            bytes += (end - entry.start) as usize;
            if bytes > limit.bytes.min(READ_BYTES) && !runs.is_empty() {
                break;
            }
            match runs.last_mut() {
                Some(run) if run.base == base && run.next() == sequence => run.extend(entry, end),
                _ => runs.push(Run { base, first: sequence, records: vec![entry], end }),
            }
        }
        runs
    }

    /// The posts of the block that holds a stored post.
    pub(super) fn block(&self, sequence: u64) -> RangeInclusive<u64> {
        let segment = self.segment_of(sequence);
        let number = segment.records[(sequence - segment.base) as usize].start / BLOCK_BYTES;
        // The count of records that start before a block.
        let before = |number: u32| {
            let start = number.saturating_mul(BLOCK_BYTES);
            segment.records.partition_point(|record| record.start < start) as u64
        };
        segment.base + before(number)..=segment.base + before(number + 1) - 1
    }

    fn segment_of(&self, sequence: u64) -> &SegmentIndex {
        let after = self.segments.partition_point(|segment| segment.base <= sequence);
        &self.segments[after - 1]
    }

    /// The number of a stored post's writer.
    pub(super) fn user(&self, sequence: u64) -> u32 {
        self.locate(sequence).1.user
    }

    /// The base of a stored post's segment, its record, and the offset at which the next record
    /// starts.
    fn locate(&self, sequence: u64) -> (u64, RecordEntry, u32) {
        let segment = self.segment_of(sequence);
        let n = (sequence - segment.base) as usize;
        let end = segment.records.get(n + 1).map_or(segment.end, |next| next.start);
        (segment.base, segment.records[n], end)
    }
}

impl SegmentIndex {
    fn last(&self) -> u64 {
        self.base + self.records.len() as u64 - 1
    }
}

impl Run {
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn extend(&mut self, record: RecordEntry, end: u32) {
        self.records.push(record);
        self.end = end;
    }
}

/// A hash of post ids. A parameter, so that tests can make ids collide.
pub type HashId = fn(&Identity, &str) -> u32;

/// The hash that logs use, keyed with the log's salt. 32 bits halve the table; among a million
/// posts one new id in 4,000 collides and costs a read of the other record.
pub fn hash_id(identity: &Identity, post_id: &str) -> u32 {
    identity.keyed_hash(post_id.as_bytes()) as u32
}

/// Hashes of the ids that are taken.
#[derive(Debug, Default)]
pub(super) struct Ids(HashTable<Id>);

#[derive(Debug, Clone, Copy)]
struct Id {
    hash: u32,
    sequence: u32,
}

impl Ids {
    /// The posts whose ids have this hash; only their records tell whether an id is the same.
    pub(super) fn candidates(&self, hash: u32) -> impl Iterator<Item = u64> {
        let same = self.0.iter_hash(widen(hash)).filter(move |id| id.hash == hash);
        same.map(|id| u64::from(id.sequence))
    }

    /// Adds an id by its hash.
    pub(super) fn insert(&mut self, hash: u32, sequence: u64) {
        let id = Id { hash, sequence: narrow(sequence) };
        self.0.insert_unique(widen(hash), id, |id| widen(id.hash));
    }
}

/// The table picks a bucket by the low bits and compares entries by the high ones, so both get all
/// 32.
fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number)
        .expect("invariant: sequences and offsets are checked before they are stored")
}
