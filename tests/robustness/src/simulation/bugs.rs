//! Bugs that are planted on purpose, to see whether the simulator drives the server there and the
//! checker notices.
//!
//! They stand at the seams of the server (`Disk`, `PostLog`, `PostService`), one at a time, chosen
//! when a run starts. The server's own code has none of them in it, and no program but the
//! simulator can switch them on.

use std::sync::Arc;

use quartet_log::{
    LogOptions, PostLog,
    disk::{Disk, memory::MemoryDisk},
};

use crate::intercepted::Intercepted;

mod at_the_disk;
mod at_the_log;
mod at_the_service;
mod bug;

pub(super) use at_the_service::BuggyPosts;
pub use bug::Bug;

/// The disk of the server, with this bug.
pub(super) fn disk(bug: Option<Bug>, disk: MemoryDisk) -> Arc<dyn Disk> {
    match bug {
        Some(bug @ (Bug::SyncDoesNothing | Bug::FailedSyncIgnored | Bug::FailedWriteIgnored)) => {
            Arc::new(Intercepted { disk, by: Arc::new(bug) })
        }
        _ => Arc::new(disk),
    }
}

/// The options with which the server opens its log, with this bug.
pub(super) fn options(bug: Option<Bug>, options: LogOptions) -> LogOptions {
    match bug {
        Some(Bug::IdsForgottenAtRestart) => {
            LogOptions { hash_id: at_the_log::forgetful_hash, ..options }
        }
        _ => options,
    }
}

/// The open log as the services see it, with this bug.
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
