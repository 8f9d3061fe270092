//! Bugs of code that writes files.

use std::{io, sync::Arc};

use quartet_server::log::disk::{Access, Disk, DiskFile, LockGuard, MemoryDisk};

use super::Bug;

#[derive(Debug)]
pub(super) struct BuggyDisk {
    pub(super) disk: MemoryDisk,
    pub(super) bug: Bug,
}

#[derive(Debug)]
struct BuggyFile {
    file: Arc<dyn DiskFile>,
    bug: Bug,
}

impl BuggyDisk {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(BuggyFile { file, bug: self.bug })
    }
}

impl Disk for BuggyDisk {
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
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
}

impl DiskFile for BuggyFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, offset);
        if self.bug == Bug::FailedWriteIgnored { Ok(()) } else { written }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.bug {
            Bug::SyncDoesNothing => Ok(()),
            Bug::FailedSyncIgnored => self.file.sync_data().or(Ok(())),
            _ => self.file.sync_data(),
        }
    }
}
