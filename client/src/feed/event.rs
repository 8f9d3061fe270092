//! What goes into a feed and what comes out of it.

use quartet::post::v1::{Bookmark, Joined, Left, LogPosition, PostBatch, PostMessage, Receipt};

use crate::resume::Disconnected;

/// A request to a feed.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedRequest {
    /// Follow these tags, or every post. Answered by [`FeedEvent::Joined`].
    Join {
        /// Added to the tags followed.
        tags: Vec<String>,
        /// Follow every post, tagged or not.
        all_tags: bool,
    },
    /// Stop following these tags. Answered by [`FeedEvent::Left`].
    Leave {
        /// Removed from the tags followed.
        tags: Vec<String>,
        /// Follow nothing any more.
        all_tags: bool,
    },
    /// Store this post. Answered by [`FeedEvent::Receipt`]. Its `post_id` must be unique.
    Publish(PostMessage),
}

/// Where the first join starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum FeedStart {
    /// With the next post that is stored.
    #[default]
    Now,
    /// With the first post of the log.
    Oldest,
    /// After this position.
    After(LogPosition),
}

/// What happens on a feed.
#[derive(Debug)]
pub enum FeedEvent {
    /// This request was queued on the present call, for the first time or again after a cut. Only
    /// its answer says that a server has it.
    Sent(FeedRequest),
    /// A join is in force.
    Joined(Joined),
    /// A leave is in force.
    Left(Left),
    /// Posts with the tags followed.
    Posts(PostBatch),
    /// The answer to a publish.
    Receipt(Receipt),
    /// The feed has passed this position.
    Bookmark(Bookmark),
    /// The call was cut and will be resumed.
    Disconnected(Disconnected),
    /// The call was resumed after this position. It has none if no join was in force before.
    Reconnected(Option<LogPosition>),
}
