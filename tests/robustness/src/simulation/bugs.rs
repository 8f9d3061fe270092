//! Planted bugs, to see whether the simulator reaches them and the checker finds them.
//!
//! They are at the seams of the server (`Disk`, `PostLog`, `PostService`), one at a time, selected
//! when a run starts. The server's own code contains none of them, and only the simulator can
//! select them.

use std::sync::Arc;

use quartet_log::{
    LogOptions, PostLog,
    disk::{Disk, memory::MemoryDisk},
};

use crate::intercepted::Intercepted;

mod bug;

mod at_the_disk;
mod at_the_log;
mod at_the_service;

pub(super) use at_the_service::BuggyPosts;
pub use bug::Bug;

impl Bug {
    /// The disk as the server sees it.
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
