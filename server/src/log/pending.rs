//! Posts of one append in the hands of the writer: they become records, those that are new.

use std::io;

use bytes::Bytes;
use quartet::encoded::PostView;

use super::{
    disk::DiskFile,
    new_posts::{NewPosts, Place},
    segment::{self, BATCH_HEADER_LEN, RECORD_HEADER_LEN},
};

/// Pending: from the first post to the last, each is kept or passed over.
#[derive(Debug)]
pub(super) struct Pending {
    /// Those that are kept come first, in the order of their sequences, and without gaps.
    posts: NewPosts,
    /// The hashes of the ids of all posts that came.
    ids: Vec<u32>,
    kept: usize,
    /// The sequence of the first one that is kept.
    first: u64,
}

impl Pending {
    /// Prepares posts for the writer. What can be done by the many threads that bring them is done here: there is one
    /// writer.
    pub(super) fn new(mut posts: NewPosts, hash: impl Fn(&str) -> u32) -> Self {
        posts.shrink();
        let ids = (0..posts.len()).map(|n| hash(posts.post_id(n))).collect();
        Self { posts, ids, kept: 0, first: 0 }
    }

    /// How many posts came.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the records.
    pub(super) fn size(&self) -> usize {
        self.posts.size() - BATCH_HEADER_LEN
    }

    /// The hash of a post's id.
    pub(super) fn id(&self, n: usize) -> u32 {
        self.ids[n]
    }

    /// Whether the post with this number has the id of a stored one.
    pub(super) fn has_id_of(&self, n: usize, stored: &[u8]) -> bool {
        self.posts.post_id(n) == PostView(stored).post_id()
    }

    /// Whether it is the same post, whenever it was created.
    pub(super) fn same_content(&self, n: usize, stored: &[u8]) -> bool {
        self.posts.same_content(n, stored)
    }

    /// Begins: the first post that is kept gets this sequence.
    pub(super) fn begin(&mut self, first: u64) {
        (self.first, self.kept) = (first, 0);
    }

    /// The sequence of the next post that is kept.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept as u64
    }

    /// Gives the post with this number the next sequence. It moves up to the others that are kept.
    pub(super) fn keep(&mut self, n: usize) -> u64 {
        let (sequence, end) = (self.next(), self.end());
        let mut place = self.posts.posts[n];
        let record = place.record();
        if record.start != end {
            place.start = (end + RECORD_HEADER_LEN) as u32;
            self.posts.bytes.copy_within(record, end);
        }
        let header = segment::record_header(sequence, place.len, place.checksum);
        self.posts.bytes[end..end + RECORD_HEADER_LEN].copy_from_slice(&header);
        self.posts.posts[self.kept] = place;
        self.kept += 1;
        sequence
    }

    /// Where those that are kept end.
    fn end(&self) -> usize {
        let last = self.kept.checked_sub(1).map(|last| self.posts.posts[last].post().end);
        last.unwrap_or(BATCH_HEADER_LEN)
    }

    /// Ends: gives up what was not kept.
    pub(super) fn finish(&mut self) {
        if self.kept < self.posts.len() {
            self.posts.bytes.truncate(self.end());
            self.posts.posts.truncate(self.kept);
            self.posts.shrink();
        }
    }

    /// The post with this sequence, if it is here and kept.
    pub(super) fn find(&self, sequence: u64) -> Option<&[u8]> {
        let here = (self.first..self.next()).contains(&sequence);
        here.then(|| self.posts.stored((sequence - self.first) as usize))
    }

    /// Writes the records, behind the header of their batch if they are its first. `start` is where room for one would
    /// stand in the file.
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

    /// What was written, to be shared: the bytes, with room for a header before them, and where posts stand in them.
    pub(super) fn share(self) -> (Bytes, Vec<Place>) {
        self.posts.share()
    }
}
