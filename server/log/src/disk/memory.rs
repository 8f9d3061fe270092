//! A disk for tests and simulations: it tells synced writes from unsynced ones and can lose the
//! latter, as a power failure does.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use rand::{Rng, RngExt};

use super::{Access, Disk, DiskFile, LockGuard};

/// A [`Disk`] in memory. Clones share the same disk. It never blocks, so a log on it runs on one
/// thread in a deterministic order.
///
/// It promises no more than POSIX does: a crash may keep any unsynced change of the directory
/// without the others, and any sector of an unsynced write.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

/// A fault injected into an operation that changes the disk (reads are not counted).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with at most a partial effect; later ones work. What a failed sync
    /// should have saved is never saved, as on Linux, which marks the pages clean.
    Error(io::ErrorKind),
    /// Power fails during the operation: it may have had its effect, and all later ones fail.
    PowerLoss,
}

/// The unit that disks write atomically, in bytes.
const SECTOR: usize = 512;

#[derive(Default)]
struct State {
    files: Vec<Content>,
    /// What a process sees: names to indices of `files`.
    names: BTreeMap<String, usize>,
    /// What a crash leaves, plus any subset of `unsynced`.
    durable_names: BTreeMap<String, usize>,
    unsynced: Vec<Change>,
    operations: u64,
    syncs: u64,
    fault: Option<(u64, Fault)>,
    writer: Weak<()>,
    reader: Weak<()>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A change of the directory: at most one name is removed and one is added.
#[derive(Debug, Clone)]
struct Change {
    removed: Option<String>,
    added: Option<(String, usize)>,
}

/// The effect of the armed fault on one operation.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    Fails(io::ErrorKind),
    PowerFails,
    PowerIsOff,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Arms a fault for the operation after the next `operations` ones, replacing any armed fault.
    pub fn arm(&self, operations: u64, fault: Fault) {
        let mut state = self.state.lock();
        state.fault = Some((state.operations + operations, fault));
    }

    /// Operations that changed the disk, or tried to, so far.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Calls of `sync_data` so far.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The names of the segments that a process sees, in order.
    pub fn segments(&self) -> Vec<String> {
        let names = self.state.lock().names.keys().cloned().collect::<Vec<_>>();
        names.into_iter().filter(|name| name.ends_with(".log")).collect()
    }

    /// The content of a file, as a process sees it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.names.get(name).map(|file| state.files[*file].bytes.clone())
    }

    /// Replaces a file, durably and behind the log's back, as damage does.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let file = state.files.len();
        state.files.push(Content { bytes: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    /// The disk as found after losing power now: synced data is there, unsynced data in part.
    ///
    /// The result is a separate disk; this one remains as it is.
    pub fn crash(&self, rng: &mut impl Rng) -> MemoryDisk {
        let state = self.state.lock();
        let mut names = state.durable_names.clone();
        for change in state.unsynced.iter().filter(|_| rng.random()) {
            change.clone().apply(&mut names);
        }
        let files: Vec<_> = state.files.iter().map(|file| file.after_crash(rng)).collect();
        let found = State { files, durable_names: names.clone(), names, ..State::default() };
        MemoryDisk { state: Arc::new(Mutex::new(found)) }
    }
}

impl fmt::Debug for MemoryDisk {
    /// Leaves out the contents of the files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("MemoryDisk")
            .field("files", &state.names.keys())
            .field("operations", &state.operations)
            .field("fault", &state.fault)
            .finish_non_exhaustive()
    }
}

impl State {
    fn next_operation(&mut self) -> Fate {
        let now = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, Fault::Error(kind))) if at == now => Fate::Fails(kind),
            Some((at, Fault::PowerLoss)) if at == now => Fate::PowerFails,
            Some((at, Fault::PowerLoss)) if at < now => Fate::PowerIsOff,
            _ => Fate::Works,
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let fate = self.next_operation();
        if let Fate::Works | Fate::PowerFails = fate {
            change.clone().apply(&mut self.names);
            self.unsynced.push(change);
        }
        fate.result()
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let fate = self.next_operation();
        match fate {
            Fate::Works => {
                self.durable_names = self.names.clone();
                self.unsynced.clear();
            }
            Fate::Fails(_) => self.unsynced.clear(),
            Fate::PowerFails | Fate::PowerIsOff => {}
        }
        fate.result()
    }

    fn write(&mut self, file: usize, bytes: &[u8], offset: usize) -> io::Result<()> {
        let fate = self.next_operation();
        let reached = match fate {
            Fate::Works => bytes,
            Fate::Fails(_) | Fate::PowerFails => &bytes[..bytes.len() / 2],
            Fate::PowerIsOff => &[],
        };
        let file = &mut self.files[file];
        put(&mut file.bytes, offset, reached);
        file.unsynced.push((offset, reached.to_vec()));
        fate.result()
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        self.syncs += 1;
        let fate = self.next_operation();
        let file = &mut self.files[file];
        match fate {
            Fate::Works => {
                for (offset, bytes) in file.unsynced.drain(..) {
                    put(&mut file.durable, offset, &bytes);
                }
            }
            Fate::Fails(_) => file.unsynced.clear(),
            Fate::PowerFails | Fate::PowerIsOff => {}
        }
        fate.result()
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Fate {
    fn result(self) -> io::Result<()> {
        match self {
            Fate::Works => Ok(()),
            Fate::Fails(kind) => Err(kind.into()),
            Fate::PowerFails | Fate::PowerIsOff => Err(io::Error::other("the power is gone")),
        }
    }
}

impl Content {
    /// Keeps any sector of an unsynced write or loses it; the length may survive without the data.
    fn after_crash(&self, rng: &mut impl Rng) -> Content {
        let mut durable = self.durable.clone();
        let survival = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        for (offset, bytes) in &self.unsynced {
            for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                if rng.random_bool(survival) {
                    put(&mut durable, offset + n * SECTOR, sector);
                }
            }
            if rng.random_bool(0.2) {
                put(&mut durable, offset + bytes.len(), &[]);
            }
        }
        Content { bytes: durable.clone(), durable, unsynced: Vec::new() }
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        if let Some(removed) = self.removed {
            names.remove(&removed);
        }
        names.extend(self.added);
    }
}

/// Writes at an offset; the file grows as needed, with zeros in any hole.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    file.resize(file.len().max(end), 0);
    file[offset..end].copy_from_slice(bytes);
}

impl Disk for MemoryDisk {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn lock(&self, access: Access) -> io::Result<LockGuard> {
        if access == Access::Observe {
            return Ok(Box::new(()));
        }
        let mut state = self.state.lock();
        let (readers, writers) = (state.reader.strong_count(), state.writer.strong_count());
        let in_the_way = if access == Access::Write { readers + writers } else { writers };
        if in_the_way > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let guard = match access {
            Access::Write => Arc::default(),
            _ => state.reader.upgrade().unwrap_or_default(),
        };
        match access {
            Access::Write => state.writer = Arc::downgrade(&guard),
            _ => state.reader = Arc::downgrade(&guard),
        }
        Ok(Box::new(guard))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Content::default());
        state.change(Change { removed: None, added: Some((name.to_owned(), file)) })?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.state.lock().find(name)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.find(from)?;
        state.change(Change { removed: Some(from.to_owned()), added: Some((to.to_owned(), file)) })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.find(name)?;
        state.change(Change { removed: Some(name.to_owned()), added: None })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state.lock().sync_directory()
    }
}

/// An open file. It stays usable when it is renamed or removed.
#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().files[self.file].bytes.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state.lock();
        let start = offset as usize;
        let found = state.files[self.file].bytes.get(start..start + buf.len());
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state.lock().write(self.file, bytes, offset as usize)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state.lock().sync(self.file)
    }
}
