//! The newest posts in memory, for readers that are caught up.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a ring holds at most.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    /// Posts.
    pub posts: usize,
    /// Bytes of posts, with what each costs in memory beside them.
    pub bytes: usize,
}

impl Default for RingLimits {
    /// 2 MiB of handles, and 32 MiB of posts: about 65,536 of 330 B, or 450 of the largest.
    fn default() -> Self {
        Self { posts: 65_536, bytes: 32 * 1024 * 1024 }
    }
}

/// What a post costs in memory beside its bytes: the handle in the ring, and, if it came alone, the reference count and
/// the allocator's share.
const POST_OVERHEAD: usize = 96;

/// A dense run of posts up to the newest.
///
/// Posts that were appended together share an allocation, at most 1 MiB, which lives as long as one of them.
#[derive(Debug)]
pub(super) struct Ring {
    /// The sequence of the oldest post.
    first: u64,
    posts: VecDeque<Bytes>,
    bytes: usize,
    limits: RingLimits,
}

impl Ring {
    /// An empty ring on a log whose next post is `next`.
    pub(super) fn new(next: u64, limits: RingLimits) -> Self {
        Self { first: next, posts: VecDeque::new(), bytes: 0, limits }
    }

    /// Adds the newest post; the oldest give way.
    pub(super) fn push(&mut self, post: Bytes) {
        self.bytes += post.len() + POST_OVERHEAD;
        self.posts.push_back(post);
        while self.posts.len() > self.limits.posts || self.bytes > self.limits.bytes {
            let oldest =
                self.posts.pop_front().expect("invariant: a ring over its limits holds posts");
            self.bytes -= oldest.len() + POST_OVERHEAD;
            self.first += 1;
        }
    }

    /// Whether the post is here.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        (self.first..self.first + self.posts.len() as u64).contains(&sequence)
    }

    /// The post of a sequence that the ring [holds](Ring::holds).
    pub(super) fn get(&self, sequence: u64) -> &Bytes {
        &self.posts[(sequence - self.first) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_posts_give_way_to_either_limit() {
        for limits in [
            RingLimits { posts: 3, bytes: usize::MAX },
            RingLimits { posts: usize::MAX, bytes: 3 * (10 + POST_OVERHEAD) },
        ] {
            let mut ring = Ring::new(1, limits);
            for sequence in 1..=8 {
                ring.push(Bytes::from(vec![sequence; 10]));
            }
            let held: Vec<_> = (0..10).filter(|sequence| ring.holds(*sequence)).collect();
            assert_eq!(held, [6, 7, 8]);
            assert_eq!(ring.get(6), &vec![6; 10]);
        }
    }

    #[test]
    fn a_post_larger_than_the_ring_is_not_kept() {
        let mut ring = Ring::new(1, RingLimits { posts: 3, bytes: 200 });
        ring.push(Bytes::from(vec![1; 10]));
        ring.push(Bytes::from(vec![2; 1000]));
        assert!(!ring.holds(1) && !ring.holds(2));
        ring.push(Bytes::from(vec![3; 10]));
        assert!(!ring.holds(2) && ring.holds(3));
    }
}
