//! A disk under a real process that fails at a chosen operation: by ending the process, or with an
//! error.
//!
//! Everything else goes to the file system as it is, and reading never fails. `failing-server` runs
//! on it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use clap::ValueEnum;
use quartet_log::disk::{Disk, RealDisk};
use rustix::process::{Signal, getpid, kill_process};

use crate::intercepted::{Intercept, Intercepted};

/// What goes wrong. The first five end the process as `kill -9` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Killed before a commit is written.
    BeforeCommit,
    /// Killed when half of a commit is written.
    TornCommit,
    /// Killed when a commit is written and not yet synced.
    InCommit,
    /// Killed when a commit is durable and nobody was told.
    AfterCommit,
    /// Killed while the log opens, before an operation that changes the disk.
    StartUp,
    /// A write fails half-way with an I/O error.
    WriteError,
    /// An fsync fails with an I/O error.
    SyncError,
    /// A write fails half-way because the disk is full.
    Full,
}

/// A directory of the file system, and a fault in wait at the `nth` operation that it can happen
/// at, counted from 1.
pub fn disk(disk: RealDisk, fault: Fault, nth: u64) -> (impl Disk, Arc<Trigger>) {
    let (opened, left) = (AtomicBool::new(false), AtomicU64::new(nth));
    let trigger = Arc::new(Trigger { fault, opened, left });
    (Intercepted { disk, by: trigger.clone() }, trigger)
}

impl Intercept for Trigger {
    fn change_directory(&self) -> io::Result<()> {
        self.die_at(Fault::StartUp)
    }

    fn write(&self, bytes: &[u8], write: &dyn Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.die_at(Fault::StartUp)?;
        self.die_at(Fault::BeforeCommit)?;
        for (fault, error) in [
            (Fault::TornCommit, None),
            (Fault::WriteError, Some(io::Error::other("an I/O error that was ordered"))),
            (Fault::Full, Some(io::ErrorKind::StorageFull.into())),
        ] {
            if self.is_due(fault) {
                write(&bytes[..bytes.len() / 2])?;
                return Err(error.unwrap_or_else(die));
            }
        }
        write(bytes)?;
        self.die_at(Fault::InCommit)
    }

    fn sync(&self, sync: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        self.die_at(Fault::StartUp)?;
        if self.is_due(Fault::SyncError) {
            return Err(io::Error::other("an I/O error that was ordered"));
        }
        sync()?;
        self.die_at(Fault::AfterCommit)
    }
}

/// When the fault happens. It does once.
#[derive(Debug)]
pub struct Trigger {
    fault: Fault,
    opened: AtomicBool,
    /// How many times it is still passed, this one included.
    left: AtomicU64,
}

impl Trigger {
    /// Says that the log is open: what is written from now on are commits.
    pub fn opened(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    fn is_due(&self, fault: Fault) -> bool {
        let opening = !self.opened.load(Ordering::Relaxed);
        fault == self.fault
            && opening == (fault == Fault::StartUp)
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }

    fn die_at(&self, fault: Fault) -> io::Result<()> {
        if self.is_due(fault) { Err(die()) } else { Ok(()) }
    }
}

/// Ends this process at once: nothing is flushed, nobody is told. The calling thread goes no
/// further than this.
fn die() -> io::Error {
    match kill_process(getpid(), Signal::KILL) {
        Ok(()) => io::Error::other("this process is killed"),
        Err(error) => error.into(),
    }
}
