//! Where the embedded log keeps its files.
//!
//! Every file operation of the log goes through [`Disk`] and [`DiskFile`]. A test can therefore lose, tear or refuse
//! what was written ([`MemoryDisk`]) while the code under test is the code that runs ([`RealDisk`]).
//!
//! A file is written only through the handle that created it; an existing file is only ever opened to be read.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(target_os = "linux")]
use rustix::io::{ReadWriteFlags, preadv2};

pub use memory::{Fault, MemoryDisk};

mod memory;

/// A directory of files.
///
/// A change of the directory (`create`, `rename`, `remove`) is durable after `sync_directory`, not before.
pub trait Disk: Send + Sync + Debug + 'static {
    /// How messages name the directory.
    fn name(&self) -> String;

    /// Whether calls may block the thread. If not, they run where the log runs, in its order.
    fn blocks(&self) -> bool;

    /// Keeps other processes out until the guard is dropped. `WouldBlock`: another one keeps us out.
    ///
    /// [`Access::Write`] makes the directory, durably, if there is none. [`Access::Read`] keeps only writers out, and
    /// changes nothing.
    fn lock(&self, access: Access) -> io::Result<LockGuard>;

    /// The names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file to be written. It must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to be read.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes earlier changes of the directory durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer from this offset, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// The same, without waiting: fails with `WouldBlock` if the system does not have all of it in memory. A file that
    /// cannot tell always does.
    fn read_cached_at(&self, _buf: &mut [u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Writes all bytes at this offset. They are durable after `sync_data`, not before.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes earlier writes durable. After a failure nobody knows which are: a later success proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// Held for as long as others shall be kept out.
pub type LockGuard = Box<dyn Debug + Send + Sync>;

/// What a process wants to do with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read, beside other readers.
    Read,
    /// Read and write, alone.
    Write,
}

/// Runs file operations where they may block: on a thread for that, or here if the disk never blocks.
///
/// A panic of `work` is an error. Cancel-safe: once it began, `work` runs to its end.
pub(super) async fn run<T, E>(
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

/// Puts a file in its place, durably: under its name it is there as a whole or not at all.
pub(super) fn install(
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

/// How the name of a file ends that is not in its place yet. A crash may leave it behind.
pub(super) const TEMPORARY: &str = ".tmp";

/// The file whose lock stands for the directory's. It is empty and stays.
const LOCK_FILE: &str = "LOCK";

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// The directory with this path. It need not be there yet.
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
        let path = self.path(LOCK_FILE);
        let write = access == Access::Write;
        if write {
            create_directory(&self.directory)?;
        }
        let file = OpenOptions::new().read(true).write(write).create(write).open(&path);
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
            // A name that is not UTF-8 is none of ours.
            entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect()
        });
        Ok(named::<Vec<_>>(&self.directory, names)?.into_iter().flatten().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        Ok(Arc::new(named(&path, File::create_new(&path))?))
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
        // Less than wanted is as good as nothing: the rest would have to be waited for.
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

/// Makes a directory and those above it; each is an entry of its parent, so the parent is what must be synced.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    named(path, fs::create_dir(path))?;
    sync_directory(parent)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    named(path, File::open(path).and_then(|directory| directory.sync_all()))
}

/// Says which file an error is about.
fn named<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
