//! Planted bugs, to see whether the simulator reaches them and the checker finds them.
//!
//! They are at the seams of the server (`Disk`, `PostLog`, `PostService`), one at a time, selected
//! when a run starts. The server's own code contains none of them, and only the simulator can
//! select them.

use std::sync::Arc;

use quartet_check::Promise;
use quartet_log::{
    LogOptions, PostLog,
    disk::{Disk, memory::MemoryDisk},
};

use crate::intercepted::Intercepted;

mod at_the_disk;
mod at_the_log;
mod at_the_service;

pub(super) use at_the_service::BuggyPosts;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// An fsync does nothing: posts are acknowledged before they are durable.
    SyncDoesNothing,
    /// A failed fsync is treated as a success.
    FailedSyncIgnored,
    /// A failed write is treated as a success.
    FailedWriteIgnored,
    /// Outcomes are returned before the commit.
    AcknowledgedBeforeCommit,
    /// An append is acknowledged at once and stored after the next one.
    LaterAppendOvertakes,
    /// Ids are forgotten at a restart.
    IdsForgottenAtRestart,
    /// A reader that fell out of the ring continues at the start of the ring.
    DroppedWhenTheRingLaps,
    /// The index of a user's posts is one post behind.
    UserIndexLags,
    /// Other content under a taken id counts as a duplicate.
    OtherContentIsADuplicate,
    /// A duplicate is reported as created.
    DuplicateToldAsCreated,
    /// The posts of an append are stored last to first.
    AppendReversed,
    /// A list resumes at its position, not after it.
    ResumesAtThePosition,
    /// A list resumes one post too late.
    ResumesAPostTooLate,
    /// A position of another log is accepted as one of this log.
    AnotherLogsPositionTaken,
    /// A page carries the head as its position, although further posts are queued.
    PositionIsTheHead,
    /// At the hand-over from replay to live, the last post is sent again.
    DoubledAtTheHandOver,
    /// A list says that the snapshot is complete after its first page.
    SnapshotEndsEarly,
    /// Long posts are left out.
    LongPostsLeftOut,
    /// A post carries the name of another user.
    AuthorOfAnother,
    /// A change of the filter takes effect one post after the position that it names.
    FilterChangesAPostLate,
    /// Some receipts are not sent.
    ReceiptsLost,
    /// Two receipts are swapped.
    ReceiptsSwapped,
    /// An upload without a finish is reported as complete.
    CompleteWithoutFinish,
    /// A stream falls silent after a while and stays open.
    StreamFallsSilent,
    /// Some posts that a feed sends while it waits are lost.
    LanePostsLost,
    /// Some posts that a feed sends while it waits are sent twice.
    LanePostsTwice,
}

impl Bug {
    /// The promise that the bug breaks first.
    pub fn breaks(self) -> Promise {
        match self {
            Bug::SyncDoesNothing
            | Bug::OtherContentIsADuplicate
            | Bug::FailedSyncIgnored
            | Bug::FailedWriteIgnored
            | Bug::AcknowledgedBeforeCommit => Promise::Durable,
            Bug::IdsForgottenAtRestart | Bug::DuplicateToldAsCreated => Promise::ExactlyOnce,
            Bug::DroppedWhenTheRingLaps
            | Bug::UserIndexLags
            | Bug::ResumesAPostTooLate
            | Bug::LongPostsLeftOut
            | Bug::LanePostsLost => Promise::Reliable,
            Bug::ReceiptsLost | Bug::ReceiptsSwapped | Bug::CompleteWithoutFinish => {
                Promise::Receipts
            }
            Bug::AppendReversed => Promise::WritersOrder,
            Bug::LaterAppendOvertakes => Promise::RealTime,
            Bug::ResumesAtThePosition => Promise::Unique,
            Bug::AnotherLogsPositionTaken => Promise::Resumable,
            Bug::PositionIsTheHead => Promise::Bookmarkable,
            Bug::DoubledAtTheHandOver | Bug::LanePostsTwice => Promise::Ordered,
            Bug::SnapshotEndsEarly => Promise::Fresh,
            Bug::AuthorOfAnother => Promise::Authored,
            Bug::FilterChangesAPostLate => Promise::Filter,
            Bug::StreamFallsSilent => Promise::Live,
        }
    }

    /// A seed at which the bug is found. `simulate --bugs` looks for others.
    pub fn seed(self) -> u64 {
        match self {
            Bug::FailedSyncIgnored | Bug::StreamFallsSilent => 4,
            Bug::OtherContentIsADuplicate
            | Bug::PositionIsTheHead
            | Bug::SnapshotEndsEarly
            | Bug::ReceiptsLost
            | Bug::ReceiptsSwapped
            | Bug::LanePostsLost => 2,
            _ => 1,
        }
    }

    /// Its name in programs and tables.
    pub fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The disk of the server, with the bug.
    pub(super) fn disk(bug: Option<Bug>, disk: MemoryDisk) -> Arc<dyn Disk> {
        match bug {
            Some(
                bug @ (Bug::SyncDoesNothing | Bug::FailedSyncIgnored | Bug::FailedWriteIgnored),
            ) => Arc::new(Intercepted { disk, by: Arc::new(bug) }),
            _ => Arc::new(disk),
        }
    }

    /// The options with which the server opens its log.
    pub(super) fn options(bug: Option<Bug>, options: LogOptions) -> LogOptions {
        match bug {
            Some(Bug::IdsForgottenAtRestart) => {
                LogOptions { hash_id: at_the_log::forgetful_hash, ..options }
            }
            _ => options,
        }
    }

    /// The open log of the services, with the bug.
    pub(super) fn log(bug: Option<Bug>, log: Arc<dyn PostLog>) -> Arc<dyn PostLog> {
        match bug {
            Some(Bug::IdsForgottenAtRestart) => {
                at_the_log::forget();
                log
            }
            Some(
                bug @ (Bug::AcknowledgedBeforeCommit
                | Bug::LaterAppendOvertakes
                | Bug::DroppedWhenTheRingLaps
                | Bug::UserIndexLags
                | Bug::OtherContentIsADuplicate
                | Bug::DuplicateToldAsCreated
                | Bug::AppendReversed),
            ) => Arc::new(at_the_log::BuggyLog::new(log, bug)),
            _ => log,
        }
    }
}
