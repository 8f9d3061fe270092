//! What is kept in memory for every post: where it stands, whose it is, and that its id is taken.
//!
//! Nothing here is stored; it is built again from the segments when the log opens. `docs/reference/log-format.md` says
//! what it costs per post.

use std::{
    hash::RandomState,
    ops::{Range, RangeInclusive},
};

use hashbrown::{HashMap, HashTable};

use super::{Limit, blocks::BLOCK_BYTES, segment::Identity};

/// Posts that a log can hold. The index counts in 32 bits, which halves it; it would fill 100 GiB by then.
pub(super) const MAX_POSTS: u64 = u32::MAX as u64;

/// Bytes that one read takes from the disk, whatever its caller would accept (one post alone may be larger).
const READ_BYTES: usize = 1024 * 1024;

/// Where posts stand, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: Vec<Segment>,
    /// The numbers of the users.
    users: HashMap<String, u32, RandomState>,
    /// The sequences of their posts.
    posts: Vec<Vec<u32>>,
}

/// Where a record starts in its file, and the number of its post's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: u32,
    pub(super) user: u32,
}

/// A segment that holds posts.
#[derive(Debug)]
struct Segment {
    base: u64,
    /// Its records, in the order of their sequences.
    records: Vec<Entry>,
    /// Where the last record ends.
    end: u32,
}

/// Posts with adjacent sequences in one segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first sequence of the segment, which names its file.
    pub(super) base: u64,
    /// The sequence of the first post.
    pub(super) first: u64,
    /// Its records.
    pub(super) records: Vec<Entry>,
    /// Where they end. Between two records may stand the header of a batch.
    pub(super) end: u32,
}

impl Index {
    /// Takes the next post in: its record stands at `place` of the segment that starts with sequence `base`.
    pub(super) fn push(&mut self, base: u64, place: Range<u64>, user_id: &str) {
        let (sequence, user) = (self.last() + 1, self.number(user_id));
        self.posts[user as usize].push(narrow(sequence));
        let segment = self.segment(base);
        segment.records.push(Entry { start: narrow(place.start), user });
        segment.end = narrow(place.end);
    }

    /// The number of a user, who gets the next one with the first post.
    fn number(&mut self, user_id: &str) -> u32 {
        let next = self.posts.len() as u32;
        let number = *self.users.entry_ref(user_id).or_insert(next);
        if number == next {
            self.posts.push(Vec::new());
        }
        number
    }

    /// The newest segment, which is begun if it is another one than before.
    fn segment(&mut self, base: u64) -> &mut Segment {
        if self.segments.last().is_none_or(|newest| newest.base != base) {
            if let Some(full) = self.segments.last_mut() {
                full.records.shrink_to_fit();
            }
            self.segments.push(Segment { base, records: Vec::new(), end: 0 });
        }
        self.segments.last_mut().expect("invariant: it was begun above")
    }

    /// The newest sequence.
    pub(super) fn last(&self) -> u64 {
        self.segments.last().map_or(0, Segment::last)
    }

    /// The sequences of a user's posts after `after`.
    pub(super) fn of_user(&self, user_id: &str, after: u64) -> &[u32] {
        let Some(user) = self.users.get(user_id) else { return &[] };
        let sequences = &self.posts[*user as usize];
        &sequences[sequences.partition_point(|sequence| u64::from(*sequence) <= after)..]
    }

    /// Where to read these posts, which are in order: as many as the limit allows, and at least one.
    pub(super) fn runs(&self, sequences: impl Iterator<Item = u64>, limit: Limit) -> Vec<Run> {
        let (mut runs, mut bytes) = (Vec::<Run>::new(), 0);
        for sequence in sequences.take(limit.posts) {
            let (base, entry, end) = self.place(sequence);
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

    /// The posts of the block that a stored post is in.
    pub(super) fn block(&self, sequence: u64) -> RangeInclusive<u64> {
        let segment = self.segment_of(sequence);
        let number = segment.records[(sequence - segment.base) as usize].start / BLOCK_BYTES;
        // How many records start before this block, and before the next.
        let before = |number: u32| {
            let start = number.saturating_mul(BLOCK_BYTES);
            segment.records.partition_point(|record| record.start < start) as u64
        };
        segment.base + before(number)..=segment.base + before(number + 1) - 1
    }

    fn segment_of(&self, sequence: u64) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.base <= sequence);
        &self.segments[after - 1]
    }

    /// The number of a stored post's writer.
    pub(super) fn user(&self, sequence: u64) -> u32 {
        self.place(sequence).1.user
    }

    /// The segment of a stored post, its record, and where the one that follows it there starts.
    fn place(&self, sequence: u64) -> (u64, Entry, u32) {
        let segment = self.segment_of(sequence);
        let n = (sequence - segment.base) as usize;
        let end = segment.records.get(n + 1).map_or(segment.end, |next| next.start);
        (segment.base, segment.records[n], end)
    }
}

impl Segment {
    fn last(&self) -> u64 {
        self.base + self.records.len() as u64 - 1
    }
}

impl Run {
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn extend(&mut self, record: Entry, end: u32) {
        self.records.push(record);
        self.end = end;
    }
}

/// Hashes a post's id. A parameter, so that tests can choose one that collides.
pub type HashId = fn(&Identity, &str) -> u32;

/// The hash that logs use. 32 bits halve the table; among a million posts one new id in 4,000 finds a stranger's hash
/// and costs a look at that record.
pub fn hash_id(identity: &Identity, post_id: &str) -> u32 {
    identity.keyed_hash(post_id.as_bytes()) as u32
}

/// Which ids are taken, up to their hash.
#[derive(Debug, Default)]
pub(super) struct Ids(HashTable<Id>);

#[derive(Debug, Clone, Copy)]
struct Id {
    hash: u32,
    sequence: u32,
}

impl Ids {
    /// The posts that may have the id with this hash; the record knows.
    pub(super) fn candidates(&self, hash: u32) -> impl Iterator<Item = u64> {
        let same = self.0.iter_hash(widen(hash)).filter(move |id| id.hash == hash);
        same.map(|id| u64::from(id.sequence))
    }

    /// Takes the id with this hash.
    pub(super) fn insert(&mut self, hash: u32, sequence: u64) {
        let id = Id { hash, sequence: narrow(sequence) };
        self.0.insert_unique(widen(hash), id, |id| widen(id.hash));
    }
}

/// The table picks a slot by the low bits and tells neighbours apart by the high ones.
fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number)
        .expect("invariant: sequences and offsets are checked before they are stored")
}
