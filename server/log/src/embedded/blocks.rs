//! Caches for readers that replay older posts: blocks of segments, and open segment files.
//!
//! A replay takes one page at a time. Reading each page from the file would cost a thread switch,
//! an open and an allocation, and again for every other reader of the same posts. So segments are
//! read in blocks, whose boundaries are the same for all readers, and the most recently used are
//! kept.
//!
//! A damaged block is never kept. Not here: the newest posts (`ring.rs`), and reads of one user's
//! posts, which are scattered.

use std::{collections::VecDeque, fmt, ops::RangeInclusive, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{disk::DiskFile, error::LogError, records::Block};

/// Bytes of a segment in one block: four pages of a list. Larger blocks make no replay faster, and
/// readers at many different positions would load more than they want.
pub(super) const BLOCK_BYTES: u32 = 256 * 1024;
/// Blocks in the cache: 16 MiB, the size of one segment.
const KEPT: usize = 64;
/// Segment files that are kept open.
const OPEN_FILES: usize = 64;

/// The most recently used blocks.
#[derive(Default)]
pub(super) struct BlockCache(Mutex<VecDeque<Slot>>);

#[derive(Clone)]
struct Slot {
    posts: RangeInclusive<u64>,
    block: Arc<OnceCell<Block>>,
}

impl fmt::Debug for BlockCache {
    /// Leaves out the posts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("kept", &self.0.lock().len()).finish_non_exhaustive()
    }
}

impl BlockCache {
    /// The block of these posts. The first caller loads it while the others wait; if its load fails
    /// or is cancelled, the next one tries. Cancel-safe.
    pub(super) async fn get(
        &self,
        posts: RangeInclusive<u64>,
        load: impl Future<Output = Result<Block, LogError>>,
    ) -> Result<Block, LogError> {
        let block = self.slot(posts).block;
        block.get_or_try_init(|| load).await.cloned()
    }

    /// The slot of a block, moved to the front. The newest block of a log grows with each append
    /// and then gets a new slot.
    fn slot(&self, posts: RangeInclusive<u64>) -> Slot {
        let mut kept = self.0.lock();
        let slot = match kept.iter().position(|slot| slot.posts == posts) {
            Some(0) => return kept[0].clone(),
            Some(at) => kept.remove(at).expect("invariant: it was found there"),
            None => Slot { posts, block: Arc::default() },
        };
        kept.push_front(slot.clone());
        kept.truncate(KEPT);
        slot
    }
}

/// Segment files, kept open for reads from the page cache.
#[derive(Default)]
pub(super) struct FileCache(Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>);

impl FileCache {
    /// The file of the segment that starts with this sequence, if it is open.
    pub(super) fn get(&self, base: u64) -> Option<Arc<dyn DiskFile>> {
        let kept = self.0.lock();
        kept.iter().find(|(other, _)| *other == base).map(|(_, file)| file.clone())
    }

    /// Keeps a file open, evicting the one kept longest.
    pub(super) fn keep(&self, base: u64, file: Arc<dyn DiskFile>) {
        let mut kept = self.0.lock();
        kept.retain(|(other, _)| *other != base);
        kept.push_front((base, file));
        kept.truncate(OPEN_FILES);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use bytes::Bytes;
    use futures::future::join_all;

    use super::*;
    use crate::records::Record;

    fn block(first: u64) -> Block {
        [Record { sequence: first, user: 0, chain: 1, post: Bytes::new() }].into()
    }

    #[tokio::test]
    async fn concurrent_readers_of_a_block_load_it_once() {
        let (blocks, loads) = (BlockCache::default(), Cell::new(0));
        let load = async || {
            tokio::task::yield_now().await;
            loads.set(loads.get() + 1);
            Ok(block(1))
        };
        let readers = join_all((0..10).map(|_| blocks.get(1..=5, load()))).await;
        assert!(readers.into_iter().all(|read| read.unwrap() == block(1)));
        assert_eq!(loads.get(), 1);
    }

    #[tokio::test]
    async fn a_failed_load_is_not_cached() {
        let blocks = BlockCache::default();
        assert!(blocks.get(1..=5, ready(Err(LogError::Closed))).await.is_err());
        assert_eq!(blocks.get(1..=5, ready(Ok(block(1)))).await.unwrap(), block(1));
    }

    #[tokio::test]
    async fn the_most_recently_used_blocks_are_cached() {
        let (blocks, loads) = (BlockCache::default(), Cell::new(0));
        let get = async |n: u64| {
            let load = async || {
                loads.set(loads.get() + 1);
                Ok(block(n))
            };
            assert_eq!(blocks.get(n..=n, load()).await.unwrap(), block(n));
        };
        for n in 0..KEPT as u64 {
            get(n).await;
            get(0).await;
        }
        assert_eq!(loads.get(), KEPT, "no block was loaded twice");
        get(KEPT as u64).await;
        get(0).await;
        assert_eq!(loads.get(), KEPT + 1, "the block used all the time is still cached");
        get(1).await;
        assert_eq!(loads.get(), KEPT + 2, "the least recently used block is not");
    }
}
