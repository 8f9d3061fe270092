//! The bugs, each with the promise that it breaks.

use quartet_check::Promise;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// An fsync does nothing: acknowledged before it is durable.
    SyncDoesNothing,
    /// An fsync that failed is taken for one that worked.
    FailedSyncIgnored,
    /// A write that failed is taken for one that worked.
    FailedWriteIgnored,
    /// Outcomes are reported before the commit.
    AcknowledgedBeforeCommit,
    /// An append gets its sequence at once and is stored after the next one.
    LaterAppendOvertakes,
    /// Ids are forgotten at a restart.
    IdsForgottenAtRestart,
    /// A reader that fell out of the ring goes on where the ring begins.
    DroppedWhenTheRingLaps,
    /// The index of a user's posts is one post behind.
    UserIndexLags,
    /// Other content under an id that is taken counts as a duplicate.
    OtherContentIsADuplicate,
    /// A duplicate is reported as created.
    DuplicateToldAsCreated,
    /// The posts of an append are stored last to first.
    AppendReversed,
    /// A list resumes at its position, not after it.
    ResumesAtThePosition,
    /// A list resumes one post too late.
    ResumesAPostTooLate,
    /// A position of another log is taken for one of this log.
    AnotherLogsPositionTaken,
    /// The chain value of a start is not compared: a position of posts that are gone is served.
    StartNotCompared,
    /// A page of posts says the head for its position, though posts are queued.
    PositionIsTheHead,
    /// Where replay hands over to live, the last post is sent again.
    DoubledAtTheHandOver,
    /// A list says that the snapshot is complete after its first page.
    SnapshotEndsEarly,
    /// Long posts are left out.
    LongPostsLeftOut,
    /// A post gets the author of another.
    AuthorOfAnother,
    /// A change of the filter takes effect one post after the position that it names.
    FilterChangesAPostLate,
    /// Some receipts are not sent.
    ReceiptsLost,
    /// Two receipts change places.
    ReceiptsSwapped,
    /// An upload without a finish is complete.
    CompleteWithoutFinish,
    /// A stream falls silent after a while and stays open.
    StreamFallsSilent,
    /// Some posts that a feed sends while it waits are lost.
    LanePostsLost,
    /// Some posts that a feed sends while it waits are sent twice.
    LanePostsTwice,
}

impl Bug {
    /// The promise that it breaks before all others.
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
            Bug::AnotherLogsPositionTaken | Bug::StartNotCompared => Promise::Resumable,
            Bug::PositionIsTheHead => Promise::Bookmarkable,
            Bug::DoubledAtTheHandOver | Bug::LanePostsTwice => Promise::Ordered,
            Bug::SnapshotEndsEarly => Promise::Fresh,
            Bug::AuthorOfAnother => Promise::Authored,
            Bug::FilterChangesAPostLate => Promise::Filter,
            Bug::StreamFallsSilent => Promise::Live,
        }
    }

    /// A seed at which it is found. `simulate --bugs` looks for others.
    pub fn seed(self) -> u64 {
        match self {
            Bug::FailedSyncIgnored => 10,
            Bug::OtherContentIsADuplicate
            | Bug::DoubledAtTheHandOver
            | Bug::FilterChangesAPostLate
            | Bug::CompleteWithoutFinish => 2,
            _ => 1,
        }
    }

    /// As programs and tables name it.
    pub fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
