//! A cache of encoded messages for feeds with equal filters at the same position.
//!
//! Two feeds that follow the same tag from the same position send the same bytes. The first of them
//! reads, joins authors and encodes; the others reuse its frame. Each core has its own cache, so
//! that no core waits for another.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use quartet_log::Filter;
use quartet_runtime::cores::Cores;
use tokio::time::Instant;

/// FrameCache per core: enough for the tags that are busy at one time, and at most half a MiB.
const KEPT: usize = 8;
/// How long a frame is reused. It contains names, so a changed name is seen after this time.
const FRESH: Duration = Duration::from_secs(1);

/// A message of a feed.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The encoded message with its prefix.
    pub bytes: Bytes,
    /// The reader's position after it.
    pub position: u64,
}

/// The newest frames of each core.
#[derive(Clone)]
pub struct FrameCache(Arc<[Mutex<VecDeque<Kept>>]>);

struct Kept {
    filter: Arc<Filter>,
    after: u64,
    until: Instant,
    frame: Frame,
}

impl fmt::Debug for FrameCache {
    /// Leaves out the encoded bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameCache").field("cores", &self.0.len()).finish()
    }
}

impl FrameCache {
    /// No frames yet, for this many cores.
    pub fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Mutex::default()).collect())
    }

    /// The next frame of a reader with this filter and position, if another reader has made it.
    /// Replaces an equal filter by the shared one, so that the next comparison is of pointers.
    pub fn find(&self, filter: &mut Arc<Filter>, after: u64, now: Instant) -> Option<Frame> {
        let kept = self.here().lock();
        let same = |kept: &&Kept| {
            kept.after == after && (Arc::ptr_eq(&kept.filter, filter) || kept.filter == *filter)
        };
        let found = kept.iter().find(same)?;
        if !Arc::ptr_eq(&found.filter, filter) {
            *filter = found.filter.clone();
        }
        (now < found.until).then(|| found.frame.clone())
    }

    /// Keeps the frame that comes after this position for this filter.
    pub fn keep(&self, filter: &Arc<Filter>, after: u64, frame: Frame) {
        let until = Instant::now() + FRESH;
        let mut kept = self.here().lock();
        // In front, so that it is found before an expired one.
        kept.push_front(Kept { filter: filter.clone(), after, until, frame });
        kept.truncate(KEPT);
    }

    fn here(&self) -> &Mutex<VecDeque<Kept>> {
        &self.0[Cores::here() % self.0.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn following(tag: &str) -> Arc<Filter> {
        let tags = BTreeSet::from([tag.to_owned()]).into();
        Arc::new(Filter { tags, user_ids: BTreeSet::new() })
    }

    fn frame(text: &'static str, position: u64) -> Frame {
        Frame { bytes: Bytes::from_static(text.as_bytes()), position }
    }

    fn found(frames: &FrameCache, tag: &str, after: u64) -> Option<(Bytes, u64)> {
        frames
            .find(&mut following(tag), after, Instant::now())
            .map(|frame| (frame.bytes, frame.position))
    }

    #[tokio::test(start_paused = true)]
    async fn readers_with_the_same_filter_and_position_send_the_same_frame() {
        let frames = FrameCache::new(1);
        frames.keep(&following("a"), 5, frame("a after 5", 7));
        frames.keep(&following("b"), 5, frame("b after 5", 9));
        assert_eq!(found(&frames, "a", 5), Some(("a after 5".into(), 7)));
        assert_eq!(found(&frames, "b", 5), Some(("b after 5".into(), 9)));
        assert_eq!((found(&frames, "a", 6), found(&frames, "c", 5)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_serves_for_a_second_and_a_newer_one_is_found_first() {
        let frames = FrameCache::new(1);
        frames.keep(&following("a"), 5, frame("old name", 7));
        tokio::time::advance(FRESH).await;
        assert_eq!(found(&frames, "a", 5), None);
        frames.keep(&following("a"), 5, frame("new name", 7));
        assert_eq!(found(&frames, "a", 5), Some(("new name".into(), 7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_core_keeps_a_few_frames() {
        let frames = FrameCache::new(1);
        for after in 0..=KEPT as u64 {
            frames.keep(&following("a"), after, frame("", after + 1));
        }
        assert_eq!(found(&frames, "a", 0), None);
        assert!(found(&frames, "a", 1).is_some());
    }
}
