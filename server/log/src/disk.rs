//! Where the embedded log keeps its files.
//!
//! Every file operation of the log goes through [`Disk`] and [`DiskFile`]. A test can therefore
//! lose, tear or refuse writes ([`memory::MemoryDisk`]) while the log's code is the code that runs
//! in production ([`RealDisk`]).
//!
//! A file is written only through the handle that created it; an existing file is opened only for
//! reading.

use std::{
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(target_os = "linux")]
use rustix::io::{ReadWriteFlags, preadv2};

pub mod memory;

/// A directory of files.
///
/// A change of the directory (`create`, `rename`, `remove`) is durable once a later
/// `sync_directory` succeeds, not before.
pub trait Disk: Send + Sync + Debug + 'static {
    /// The name of the directory in messages.
    fn name(&self) -> String;

    /// Whether calls may block the thread. If not, the log makes them on its own task, in order;
    /// otherwise on a blocking thread.
    fn blocks(&self) -> bool;

    /// Locks the directory against other processes until the guard is dropped.
    ///
    /// [`Access::Write`] creates a missing directory, durably, and locks out all others.
    /// [`Access::Read`] locks out writers only, and changes nothing on disk. [`Access::Observe`]
    /// locks out nobody, and changes nothing.
    ///
    /// # Errors
    /// `WouldBlock` if another process or log holds the lock.
    fn lock(&self, access: Access) -> io::Result<LockGuard>;

    /// The names of the files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file for writing. Fails with `AlreadyExists` if there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file, replacing any file of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes earlier changes of the directory durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// The length of the file in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer from this offset, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Reads like [`read_exact_at`](DiskFile::read_exact_at) but only from the page cache: fails
    /// with `WouldBlock` if a part would have to be read from the device. The default always does.
    fn read_cached_at(&self, _buf: &mut [u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Writes all bytes at this offset. They are durable once a later `sync_data` succeeds, not
    /// before.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes earlier writes durable. After a failure it is unknown which of them are, and a later
    /// success does not tell.
    fn sync_data(&self) -> io::Result<()>;
}

/// Keeps the lock of [`Disk::lock`] until it is dropped.
pub type LockGuard = Box<dyn Debug + Send + Sync>;

/// How a log is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading, beside a process that may be writing. What it writes meanwhile is not seen.
    Observe,
    /// For reading, shared with other readers.
    Read,
    /// For reading and writing, exclusively.
    Write,
}

/// Runs file operations: on a blocking thread, or in place if the disk never blocks.
///
/// A panic in `work` becomes an error. Cancel-safe: once started, `work` runs to its end.
pub(crate) async fn run<T, E>(
    disk: &dyn Disk,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    let ended = match disk.blocks() {
        true => tokio::task::spawn_blocking(work).await.ok(),
        false => catch_unwind(AssertUnwindSafe(work)).ok(),
    };
    ended.unwrap_or_else(|| Err(io::Error::other("an operation panicked or was abandoned").into()))
}

/// Creates a file durably and atomically: after a crash it is there as a whole or not at all.
pub(crate) fn install(
    disk: &dyn Disk,
    name: &str,
    content: &[u8],
) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = format!("{name}{TEMPORARY}");
    let file = disk.create(&temporary)?;
    file.write_all_at(content, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, name)?;
    disk.sync_directory()?;
    Ok(file)
}

/// Suffix of a file that is not complete yet. A crash may leave one behind.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The file whose lock guards the directory. It is empty and never removed.
const LOCK_FILE: &str = "LOCK";

/// Modes of what is created: posts are readable by their server's user alone. What exists keeps its
/// mode.
const OWN_DIRECTORY: u32 = 0o700;
const OWN_FILE: u32 = 0o600;

/// A directory in the file system. It is created with mode 0700, its files with 0600.
#[derive(Debug, Clone)]
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// The directory at this path, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Disk for RealDisk {
    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    fn blocks(&self) -> bool {
        true
    }

    fn lock(&self, access: Access) -> io::Result<LockGuard> {
        if access == Access::Observe {
            return Ok(Box::new(()));
        }
        let path = self.path(LOCK_FILE);
        let write = access == Access::Write;
        if write {
            create_directory(&self.directory, OWN_DIRECTORY)?;
        }
        let file =
            OpenOptions::new().read(true).write(write).create(write).mode(OWN_FILE).open(&path);
        let file = named(&path, file)?;
        let locked = if write { file.try_lock() } else { file.try_lock_shared() };
        match locked {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => named(&path, Err(error)),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory).and_then(|entries| {
            // The log creates no file whose name is not UTF-8.
            entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect()
        });
        Ok(named::<Vec<_>>(&self.directory, names)?.into_iter().flatten().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        let new =
            OpenOptions::new().read(true).write(true).create_new(true).mode(OWN_FILE).open(&path);
        Ok(Arc::new(named(&path, new)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        Ok(Arc::new(named(&path, File::open(&path))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let path = self.path(from);
        named(&path, fs::rename(&path, self.path(to)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        named(&path, fs::remove_file(&path))
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    #[cfg(target_os = "linux")]
    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let wanted = buf.len();
        let mut bufs = [io::IoSliceMut::new(buf)];
        // A short read means that the rest is not in the page cache.
        match preadv2(self, &mut bufs, offset, ReadWriteFlags::NOWAIT)? {
            read if read == wanted => Ok(()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

/// Creates a directory with this mode, and its missing ancestors as usual. Each is an entry of its
/// parent, so the parent is what must be synced.
fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_directory(parent, 0o777)?;
    named(path, DirBuilder::new().mode(mode).create(path))?;
    sync_directory(parent)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    named(path, File::open(path).and_then(|directory| directory.sync_all()))
}

/// Adds the path to an error's message.
fn named<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
