//! Posts that a read returns. They share the log's memory and are never copied.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use quartet::encoded;

/// A stored post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its position in the log, from 1.
    pub sequence: u64,
    /// The log's number for its writer: 0, 1, 2 … in the order of their first posts. Another log
    /// may number its writers differently.
    pub user: u32,
    /// The chain value of the log at this post: 64 bits over all records up to it, never 0.
    pub chain: u64,
    /// Its encoding, as `quartet::wire` describes it.
    pub post: Bytes,
}

impl Record {
    /// A view of the encoded post.
    pub fn view(&self) -> encoded::PostView<'_> {
        encoded::PostView(&self.post)
    }
}

/// Consecutive posts that share an allocation. A page refers to parts of a few blocks, however many
/// posts it has.
pub(crate) type Block = Arc<[Record]>;

/// Posts in log order.
#[derive(Debug, Clone, Default)]
pub struct Records {
    parts: Vec<(Block, Range<usize>)>,
    len: usize,
    bytes: usize,
}

impl Records {
    /// The posts.
    pub fn iter(&self) -> impl Iterator<Item = &Record> + Clone {
        self.parts.iter().flat_map(|(block, range)| &block[range.clone()])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The newest post.
    pub fn last(&self) -> Option<&Record> {
        let (block, range) = self.parts.last()?;
        block[range.clone()].last()
    }

    /// Bytes of all posts, as stored.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the posts of a block from index `start` on while they fit into the limit. Returns
    /// whether posts of the next block might fit too.
    pub(crate) fn add(&mut self, block: &Block, start: usize, limit: Limit) -> bool {
        let fitting = block[start..].iter().take_while(|record| {
            let fits = limit.allows(self.len + 1, self.bytes + record.post.len());
            if fits {
                self.len += 1;
                self.bytes += record.post.len();
            }
            fits
        });
        let end = start + fitting.count();
        if end > start {
            self.parts.push((block.clone(), start..end));
        }
        end == block.len() && self.len < limit.posts && self.bytes < limit.bytes
    }

    /// Removes posts after this sequence.
    pub(crate) fn truncate(&mut self, until: u64) {
        while let Some((block, range)) = self.parts.last_mut() {
            let kept = block[range.clone()].partition_point(|record| record.sequence <= until);
            let gone = &block[range.start + kept..range.end];
            self.len -= gone.len();
            self.bytes -= gone.iter().map(|record| record.post.len()).sum::<usize>();
            range.end = range.start + kept;
            if kept > 0 {
                break;
            }
            self.parts.pop();
        }
    }
}

impl From<Vec<Record>> for Records {
    fn from(records: Vec<Record>) -> Self {
        let mut all = Self::default();
        all.add(&records.into(), 0, Limit { posts: usize::MAX, bytes: usize::MAX });
        all
    }
}

impl PartialEq for Records {
    /// Compares posts, not the blocks that hold them.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The most that one read may return. The first post is returned whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Posts.
    pub posts: usize,
    /// Bytes of stored posts.
    pub bytes: usize,
}

impl Limit {
    /// Takes records while they fit.
    pub fn take(self, records: impl Iterator<Item = Record>) -> Vec<Record> {
        let (mut posts, mut bytes) = (0, 0);
        records
            .take_while(|record| {
                posts += 1;
                bytes += record.post.len();
                self.allows(posts, bytes)
            })
            .collect()
    }

    /// Whether a read may return this many posts with this many bytes in total.
    fn allows(self, posts: usize, bytes: usize) -> bool {
        posts <= self.posts && (posts == 1 || bytes <= self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Limit = Limit { posts: usize::MAX, bytes: usize::MAX };

    fn block(sequences: Range<u64>) -> Block {
        sequences
            .map(|sequence| Record { sequence, user: 0, chain: 1, post: vec![0; 10].into() })
            .collect()
    }

    fn sequences(records: &Records) -> Vec<u64> {
        let sequences: Vec<_> = records.iter().map(|record| record.sequence).collect();
        assert_eq!((records.len(), records.bytes()), (sequences.len(), sequences.len() * 10));
        assert_eq!(records.last().map(|record| record.sequence), sequences.last().copied());
        sequences
    }

    #[test]
    fn parts_of_blocks_read_as_one_sequence_within_the_limit() {
        for limit in [Limit { posts: 5, ..ALL }, Limit { bytes: 55, ..ALL }] {
            let mut records = Records::default();
            assert!(records.add(&block(1..4), 1, limit));
            assert!(!records.add(&block(4..9), 0, limit));
            assert_eq!(sequences(&records), [2, 3, 4, 5, 6]);
        }
        let mut first = Records::default();
        assert!(!first.add(&block(1..4), 0, Limit { bytes: 1, ..ALL }));
        assert_eq!(sequences(&first), [1], "whatever its size");
        let mut none = Records::default();
        assert!(!none.add(&block(1..4), 0, Limit { posts: 0, ..ALL }) && none.is_empty());
    }

    #[test]
    fn truncate_removes_the_posts_after_a_sequence() {
        for (until, left) in [(9, 5), (5, 5), (4, 4), (3, 3), (1, 1), (0, 0)] {
            let mut records = Records::default();
            assert!(records.add(&block(1..4), 0, ALL) && records.add(&block(4..6), 0, ALL));
            records.truncate(until);
            assert_eq!(sequences(&records), (1..=left).collect::<Vec<_>>());
        }
    }
}
