//! Posts of one append that the writer turns into records, leaving out those stored earlier.

use std::io;

use bytes::Bytes;
use quartet::encoded::PostView;

use crate::{
    disk::DiskFile,
    new_posts::{NewPosts, PostSpan},
    segment::{self, BATCH_HEADER_LEN, RECORD_HEADER_LEN},
};

/// Posts of one append. From the first to the last, the writer keeps each or skips it.
#[derive(Debug)]
pub(super) struct PendingPosts {
    /// Kept posts are moved to the front, in the order of their sequences and without gaps.
    posts: NewPosts,
    /// The hashes of the ids of all posts, kept or not.
    ids: Vec<u32>,
    kept: usize,
    /// The sequence of the first kept post.
    first: u64,
    /// The chain value after the kept posts.
    chain: u64,
}

impl PendingPosts {
    /// Prepares posts for the writer. Hashes are computed here, on the callers' threads, because
    /// there is one writer.
    pub(super) fn new(mut posts: NewPosts, hash: impl Fn(&str) -> u32) -> Self {
        posts.shrink();
        let ids = (0..posts.len()).map(|n| hash(posts.post_id(n))).collect();
        Self { posts, ids, kept: 0, first: 0, chain: 0 }
    }

    /// Number of posts, kept or not.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the records that are left.
    pub(super) fn size(&self) -> usize {
        self.posts.size() - BATCH_HEADER_LEN
    }

    /// The hash of the `n`th post's id.
    pub(super) fn id(&self, n: usize) -> u32 {
        self.ids[n]
    }

    /// Whether the `n`th post has the id of a stored post.
    pub(super) fn has_id_of(&self, n: usize, stored: &[u8]) -> bool {
        self.posts.post_id(n) == PostView(stored).post_id()
    }

    /// Whether the `n`th post has the content of a stored one; `create_time` may differ.
    pub(super) fn same_content(&self, n: usize, stored: &[u8]) -> bool {
        self.posts.same_content(n, stored)
    }

    /// Starts over: the first kept post gets this sequence, and follows this chain value.
    pub(super) fn begin(&mut self, first: u64, chain: u64) {
        (self.first, self.chain, self.kept) = (first, chain, 0);
    }

    /// The chain value after the kept posts.
    pub(super) fn chain(&self) -> u64 {
        self.chain
    }

    /// The sequence of the next kept post.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept as u64
    }

    /// Keeps the `n`th post under the next sequence and moves it behind the other kept posts.
    pub(super) fn keep(&mut self, n: usize) -> u64 {
        let (sequence, end) = (self.next(), self.end());
        let mut span = self.posts.posts[n];
        let record = span.record();
        if record.start != end {
            span.start = (end + RECORD_HEADER_LEN) as u32;
            self.posts.bytes.copy_within(record, end);
        }
        self.chain = segment::chain(self.chain, span.checksum);
        let header = segment::record_header(sequence, span.len, span.checksum, self.chain);
        self.posts.bytes[end..end + RECORD_HEADER_LEN].copy_from_slice(&header);
        self.posts.posts[self.kept] = span;
        self.kept += 1;
        sequence
    }

    /// The offset at which the kept posts end.
    fn end(&self) -> usize {
        let last = self.kept.checked_sub(1).map(|last| self.posts.posts[last].post().end);
        last.unwrap_or(BATCH_HEADER_LEN)
    }

    /// Drops the posts that were not kept.
    pub(super) fn finish(&mut self) {
        if self.kept < self.posts.len() {
            self.posts.bytes.truncate(self.end());
            self.posts.posts.truncate(self.kept);
            self.posts.shrink();
        }
    }

    /// The kept post with this sequence, if it is one of these.
    pub(super) fn find(&self, sequence: u64) -> Option<&[u8]> {
        let kept = (self.first..self.next()).contains(&sequence);
        kept.then(|| self.posts.stored((sequence - self.first) as usize))
    }

    /// Writes the records, after the batch header if they are the first of their batch. `start` is
    /// the file offset of the buffer, which begins with room for such a header.
    pub(super) fn write(
        &mut self,
        file: &dyn DiskFile,
        start: u64,
        header: Option<[u8; BATCH_HEADER_LEN]>,
    ) -> io::Result<()> {
        let bytes = &mut self.posts.bytes;
        match header {
            Some(header) => {
                bytes[..BATCH_HEADER_LEN].copy_from_slice(&header);
                file.write_all_at(bytes, start)
            }
            None => file.write_all_at(&bytes[BATCH_HEADER_LEN..], start + BATCH_HEADER_LEN as u64),
        }
    }

    /// The buffer that was written, with room for a batch header at its start, and where the posts
    /// stand in it.
    pub(super) fn share(self) -> (Bytes, Vec<PostSpan>) {
        self.posts.share()
    }
}
