//! The newest posts in memory, for readers that have caught up.

use std::collections::VecDeque;

use bytes::Bytes;

/// Limits of the newest posts that a log keeps in memory.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    /// Most posts.
    pub posts: usize,
    /// Most bytes of posts, with the overhead of each in memory.
    pub bytes: usize,
}

impl Default for RingLimits {
    /// 2.5 MiB of handles and 32 MiB of posts: about 65,536 posts of 330 B, or 450 of the largest.
    fn default() -> Self {
        Self { posts: 65_536, bytes: 32 * 1024 * 1024 }
    }
}

/// Memory per post beside its bytes: the handle in the ring and, for an append of one post, the
/// reference count and the allocator's overhead.
const POST_OVERHEAD: usize = 104;

/// The newest posts, without gaps.
///
/// Posts that were appended together share an allocation of at most 1 MiB, which lives as long as
/// any of them.
#[derive(Debug)]
pub(super) struct Ring {
    /// The sequence of the oldest post.
    first: u64,
    /// Each with the chain value at it.
    posts: VecDeque<(Bytes, u64)>,
    bytes: usize,
    limits: RingLimits,
}

impl Ring {
    /// An empty ring in a log whose next sequence is `next`.
    pub(super) fn new(next: u64, limits: RingLimits) -> Self {
        Self { first: next, posts: VecDeque::new(), bytes: 0, limits }
    }

    /// Adds the newest post, evicting the oldest while over a limit.
    pub(super) fn push(&mut self, post: Bytes, chain: u64) {
        self.bytes += post.len() + POST_OVERHEAD;
        self.posts.push_back((post, chain));
        while self.posts.len() > self.limits.posts || self.bytes > self.limits.bytes {
            let (oldest, _) =
                self.posts.pop_front().expect("invariant: a ring over its limits holds posts");
            self.bytes -= oldest.len() + POST_OVERHEAD;
            self.first += 1;
        }
    }

    /// Whether the ring holds this post.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        (self.first..self.first + self.posts.len() as u64).contains(&sequence)
    }

    /// A post that the ring [holds](Ring::holds), and the chain value at it.
    pub(super) fn get(&self, sequence: u64) -> &(Bytes, u64) {
        &self.posts[(sequence - self.first) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_limit_evicts_the_oldest_posts() {
        for limits in [
            RingLimits { posts: 3, bytes: usize::MAX },
            RingLimits { posts: usize::MAX, bytes: 3 * (10 + POST_OVERHEAD) },
        ] {
            let mut ring = Ring::new(1, limits);
            for sequence in 1..=8 {
                ring.push(Bytes::from(vec![sequence as u8; 10]), sequence);
            }
            let held: Vec<_> = (0..10).filter(|sequence| ring.holds(*sequence)).collect();
            assert_eq!(held, [6, 7, 8]);
            assert_eq!(ring.get(6), &(Bytes::from(vec![6; 10]), 6));
        }
    }

    #[test]
    fn a_post_larger_than_the_ring_is_not_kept() {
        let mut ring = Ring::new(1, RingLimits { posts: 3, bytes: 200 });
        ring.push(Bytes::from(vec![1; 10]), 1);
        ring.push(Bytes::from(vec![2; 1000]), 2);
        assert!(!ring.holds(1) && !ring.holds(2));
        ring.push(Bytes::from(vec![3; 10]), 3);
        assert!(!ring.holds(2) && ring.holds(3));
    }
}
