//! What is made from files, and made again when they change: certificates and the keys of tokens.
//!
//! Files are looked at once a second, because that works wherever they come from: written in place, renamed over, or
//! behind a link that a secret store moves. A look reads them whole; they are a few KiB.
//!
//! Guarantee: what cannot be read or used changes nothing. It is logged once, and what was in force stays in force.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{sync::Notify, time::interval};
use tokio_util::sync::CancellationToken;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Why files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct FileError {
    /// The one that is at fault.
    pub file: PathBuf,
    /// What is wrong with it. It says nothing of what stands in it.
    pub problem: String,
}

impl FileError {
    /// This is wrong with that file.
    pub fn new(file: &Path, problem: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), problem: problem.to_string() }
    }
}

/// A value made from files. Clones share it.
pub struct Reloaded<T>(Arc<Inner<T>>);

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync>;

struct Inner<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    last_look: Mutex<LastLook>,
}

/// What a look found, so that the next one knows whether anything is new.
struct LastLook {
    contents: Vec<Vec<u8>>,
    problem: Option<FileError>,
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("files", &self.0.files).finish_non_exhaustive()
    }
}

impl<T> Reloaded<T> {
    /// Makes it from the contents of these files, which come in the same order. `what` names it in the log.
    ///
    /// # Errors
    /// The first of the files that cannot be read, or what `make` says.
    pub fn open(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = read_all(&files)?;
        let current = RwLock::new(Arc::new(make(&contents)?));
        let last_look = Mutex::new(LastLook { contents, problem: None });
        Ok(Self(Arc::new(Inner { what, files, make: Box::new(make), current, last_look })))
    }

    /// What is in force now.
    pub fn get(&self) -> Arc<T> {
        self.0.current.read().clone()
    }
}

/// Something that looks at its files again.
trait Reload: Send + Sync {
    fn look(&self);
}

impl<T: Send + Sync> Reload for Inner<T> {
    fn look(&self) {
        let mut last = self.last_look.lock();
        let made = read_all(&self.files).and_then(|contents| {
            if contents == last.contents {
                return Ok(None);
            }
            let made = (self.make)(&contents);
            last.contents = contents;
            made.map(Some)
        });
        match made {
            Ok(Some(made)) => {
                *self.current.write() = Arc::new(made);
                last.problem = None;
                tracing::info!("{} reloaded", self.what);
            }
            Ok(None) => {}
            Err(problem) if last.problem.as_ref() == Some(&problem) => {}
            Err(problem) => {
                tracing::error!("{} not reloaded, the old stays in force: {problem}", self.what);
                last.problem = Some(problem);
            }
        }
    }
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    files
        .iter()
        .map(|file| std::fs::read(file).map_err(|error| FileError::new(file, error)))
        .collect()
}

/// Looks at all files of a server, every second and whenever it is told to. Clones share it.
#[derive(Clone, Default)]
pub struct Reloader {
    all: Vec<Arc<dyn Reload>>,
    now: Arc<Notify>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("all", &self.all.len()).finish_non_exhaustive()
    }
}

impl Reloader {
    /// Looks after this one too.
    pub fn add<T: Send + Sync + 'static>(&mut self, reloaded: &Reloaded<T>) {
        self.all.push(reloaded.0.clone());
    }

    /// Looks at the files now: SIGHUP says so.
    pub fn look_now(&self) {
        self.now.notify_one();
    }

    /// Looks after them until it is stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if self.all.is_empty() {
            return;
        }
        let mut every = interval(EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.now.notified() => {}
                _ = every.tick() => {}
            }
            let all = self.all.clone();
            // On a thread that may wait for a disk. Its error is a panic, which the hook has reported.
            let _ =
                tokio::task::spawn_blocking(move || all.iter().for_each(|one| one.look())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(contents: &[Vec<u8>]) -> Result<u32, FileError> {
        let text = String::from_utf8_lossy(&contents[0]);
        text.trim().parse().map_err(|error| FileError::new(Path::new("number"), error))
    }

    #[test]
    fn what_cannot_be_used_changes_nothing_and_what_can_comes_into_force() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "1").unwrap();
        let reloaded = Reloaded::open("a number", vec![file.path().to_owned()], number).unwrap();
        for (text, then) in [("one", 1), ("2", 2), ("two", 2), ("2", 2), ("3", 3)] {
            std::fs::write(&file, text).unwrap();
            reloaded.0.look();
            assert_eq!(*reloaded.get(), then, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        reloaded.0.look();
        assert_eq!(*reloaded.get(), 3, "the file is gone");
        assert!(reloaded.0.last_look.lock().problem.is_some());
    }
}
