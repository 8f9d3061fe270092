//! Bugs that are planted on purpose, to see whether the simulator drives the server there and the checker notices.
//!
//! They stand at the seams of the server (`Disk`, `PostLog`, `PostService`), one at a time, chosen when a run starts.
//! The server's own code has none of them in it, and no program but the simulator can switch them on.

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

    /// How the server opens its log.
    pub(super) fn options(bug: Option<Bug>, options: LogOptions) -> LogOptions {
        match bug {
            Some(Bug::IdsForgottenAtRestart) => {
                LogOptions { hash_id: at_the_log::forgetful_hash, ..options }
            }
            _ => options,
        }
    }

    /// The log as the services see it, once it is open.
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
