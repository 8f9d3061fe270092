//! Older posts in memory, for readers that replay: blocks of a segment that are read and checked once.
//!
//! A replay takes one page at a time. Read from the file by itself, each page would cost a trip to another thread, a file
//! that is opened and a buffer that is made; and whoever replays the same posts beside it would pay all of it again. So a
//! segment is read in blocks, which start at the same places for everybody, and the last few are kept.
//!
//! A block that is damaged is never kept. Not here: the newest posts (`ring.rs`), and reads of one user's posts, which
//! are scattered.

use std::{collections::VecDeque, fmt, ops::RangeInclusive, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{LogError, disk::DiskFile, records::Block};

/// Bytes of a segment that make a block: four pages. Larger ones make no replay faster, and a server that many read at
/// many places would read more than they want.
pub(super) const BLOCK_BYTES: u32 = 256 * 1024;
/// Blocks that are kept: 16 MiB, which is one segment.
const KEPT: usize = 64;

/// Files that are kept open.
const OPEN: usize = 64;

/// The blocks that were wanted last.
#[derive(Default)]
pub(super) struct Blocks(Mutex<VecDeque<Slot>>);

#[derive(Clone)]
struct Slot {
    posts: RangeInclusive<u64>,
    block: Arc<OnceCell<Block>>,
}

impl fmt::Debug for Blocks {
    /// Leaves out what was read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("kept", &self.0.lock().len()).finish_non_exhaustive()
    }
}

impl Blocks {
    /// The block of these posts. Whoever wants it first loads it, and the others wait; if loading fails, the next one
    /// tries. Cancel-safe.
    pub(super) async fn get(
        &self,
        posts: RangeInclusive<u64>,
        load: impl Future<Output = Result<Block, LogError>>,
    ) -> Result<Block, LogError> {
        let block = self.slot(posts).block;
        block.get_or_try_init(|| load).await.cloned()
    }

    /// The place of a block, which is now the one wanted last. The newest block of a log grows, and is another one then.
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

/// The segments that were read last, open: who finds a block in the system's memory need not open a file for it.
#[derive(Default)]
pub(super) struct Files(Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>);

impl Files {
    /// The file of the segment that starts with this sequence, if it was kept.
    pub(super) fn get(&self, base: u64) -> Option<Arc<dyn DiskFile>> {
        let kept = self.0.lock();
        kept.iter().find(|(other, _)| *other == base).map(|(_, file)| file.clone())
    }

    /// Keeps a file; the one that was kept longest gives way.
    pub(super) fn keep(&self, base: u64, file: Arc<dyn DiskFile>) {
        let mut kept = self.0.lock();
        kept.retain(|(other, _)| *other != base);
        kept.push_front((base, file));
        kept.truncate(OPEN);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use bytes::Bytes;
    use futures::future::join_all;

    use super::{super::Record, *};

    fn block(first: u64) -> Block {
        [Record { sequence: first, user: 0, post: Bytes::new() }].into()
    }

    #[tokio::test]
    async fn a_block_is_loaded_once_however_many_want_it_at_once() {
        let (blocks, loads) = (Blocks::default(), Cell::new(0));
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
    async fn a_load_that_failed_is_not_kept() {
        let blocks = Blocks::default();
        assert!(blocks.get(1..=5, ready(Err(LogError::Closed))).await.is_err());
        assert_eq!(blocks.get(1..=5, ready(Ok(block(1)))).await.unwrap(), block(1));
    }

    #[tokio::test]
    async fn the_blocks_that_were_wanted_last_are_kept() {
        let (blocks, loads) = (Blocks::default(), Cell::new(0));
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
        assert_eq!(loads.get(), KEPT, "none was loaded twice");
        get(KEPT as u64).await;
        get(0).await;
        assert_eq!(loads.get(), KEPT + 1, "the one wanted all the time is still there");
        get(1).await;
        assert_eq!(loads.get(), KEPT + 2, "the one wanted longest ago is not");
    }
}
