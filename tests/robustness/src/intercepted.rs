//! A disk whose changes pass an interceptor.

use std::{fmt::Debug, io, sync::Arc};

use quartet_log::disk::{Access, Disk, DiskFile, LockGuard};

/// Called in place of each change of a disk. Reads are passed on unchanged.
pub(crate) trait Intercept: Debug + Send + Sync + 'static {
    /// Called before a file is created, renamed or removed, or the directory synced; an error
    /// prevents it.
    fn change_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Called in place of writing these bytes.
    fn write(&self, bytes: &[u8], write: &dyn Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        write(bytes)
    }

    /// Called in place of syncing a file.
    fn sync(&self, sync: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        sync()
    }
}

/// A disk with an interceptor in front of it.
#[derive(Debug)]
pub(crate) struct Intercepted<D, I> {
    pub(crate) disk: D,
    pub(crate) by: Arc<I>,
}

impl<D: Disk, I: Intercept> Disk for Intercepted<D, I> {
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
        self.by.change_directory()?;
        Ok(Arc::new(InterceptedFile { file: self.disk.create(name)?, by: self.by.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.by.change_directory()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.by.change_directory()?;
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.by.change_directory()?;
        self.disk.sync_directory()
    }
}

#[derive(Debug)]
struct InterceptedFile<I> {
    file: Arc<dyn DiskFile>,
    by: Arc<I>,
}

impl<I: Intercept> DiskFile for InterceptedFile<I> {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.by.write(bytes, &|bytes| self.file.write_all_at(bytes, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.by.sync(&|| self.file.sync_data())
    }
}
