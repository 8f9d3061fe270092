//! A disk under a real process that fails at a chosen operation: by ending the process, or with an error.
//!
//! Everything else goes to the file system as it is, and reading never fails. `failing-server` runs on it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use clap::ValueEnum;
use quartet_server::log::disk::{Access, Disk, DiskFile, LockGuard, RealDisk};
use rustix::process::{Signal, getpid, kill_process};

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

/// A directory of the file system, with a fault in wait.
#[derive(Debug)]
pub struct FailingDisk {
    disk: RealDisk,
    trigger: Arc<Trigger>,
}

impl FailingDisk {
    /// This disk, with a fault at the `nth` operation that it can happen at, counted from 1.
    pub fn new(disk: RealDisk, fault: Fault, nth: u64) -> Self {
        let (opened, left) = (AtomicBool::new(false), AtomicU64::new(nth));
        Self { disk, trigger: Arc::new(Trigger { fault, opened, left }) }
    }

    /// Says that the log is open: what is written from now on are commits.
    pub fn opened(&self) {
        self.trigger.opened.store(true, Ordering::Relaxed);
    }
}

impl Disk for FailingDisk {
    fn name(&self) -> String {
        self.disk.name()
    }

    fn blocks(&self) -> bool {
        self.disk.blocks()
    }

    fn lock(&self, access: Access) -> io::Result<LockGuard> {
        self.disk.lock(access)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.trigger.die_at(Fault::StartUp)?;
        let file = self.disk.create(name)?;
        Ok(Arc::new(FailingFile { file, trigger: self.trigger.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.trigger.die_at(Fault::StartUp)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.trigger.die_at(Fault::StartUp)?;
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.trigger.die_at(Fault::StartUp)?;
        self.disk.sync_directory()
    }
}

/// A file that is written.
#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    trigger: Arc<Trigger>,
}

impl DiskFile for FailingFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.trigger.die_at(Fault::StartUp)?;
        self.trigger.die_at(Fault::BeforeCommit)?;
        for (fault, error) in [
            (Fault::TornCommit, None),
            (Fault::WriteError, Some(io::Error::other("an I/O error that was ordered"))),
            (Fault::Full, Some(io::ErrorKind::StorageFull.into())),
        ] {
            if self.trigger.is_due(fault) {
                self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
                return Err(error.unwrap_or_else(die));
            }
        }
        self.file.write_all_at(bytes, offset)?;
        self.trigger.die_at(Fault::InCommit)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.trigger.die_at(Fault::StartUp)?;
        if self.trigger.is_due(Fault::SyncError) {
            return Err(io::Error::other("an I/O error that was ordered"));
        }
        self.file.sync_data()?;
        self.trigger.die_at(Fault::AfterCommit)
    }
}

/// When the fault happens. It does once.
#[derive(Debug)]
struct Trigger {
    fault: Fault,
    opened: AtomicBool,
    /// How many times it is still passed, this one included.
    left: AtomicU64,
}

impl Trigger {
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

/// Ends this process at once: nothing is flushed, nobody is told. The calling thread goes no further than this.
fn die() -> io::Error {
    match kill_process(getpid(), Signal::KILL) {
        Ok(()) => io::Error::other("this process is killed"),
        Err(error) => error.into(),
    }
}
