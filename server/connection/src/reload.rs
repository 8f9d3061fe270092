//! Values that are made from files, and made again when they change: certificates, the keys of
//! tokens.
//!
//! Files are read once a second, because that works however they are replaced: written in place,
//! renamed over, or behind a link that a secret store moves. They are a few KiB.
//!
//! Guarantee: files that cannot be read or used change nothing. The problem is logged once, and the
//! old value stays in force.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{sync::Notify, task::spawn_blocking, time::interval};
use tokio_util::sync::CancellationToken;

/// How often files are read.
const EVERY: Duration = Duration::from_secs(1);

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it. It quotes nothing of its content, which may be secret.
    pub problem: String,
}

impl FileError {
    /// The problem of a file.
    pub fn new(file: &Path, problem: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), problem: problem.to_string() }
    }
}

/// A value that is made from files. Clones share it.
pub struct Reloaded<T>(Arc<Inner<T>>);

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync>;

struct Inner<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    last: Mutex<Last>,
}

/// What was found last, so that only news are acted on.
#[derive(Default)]
struct Last {
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
    /// Makes a value from the contents of these files, which `make` gets in the same order. `what`
    /// names it in the log.
    ///
    /// # Errors
    /// The first file that cannot be read, or the error of `make`.
    pub fn open(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = read_all(&files)?;
        let current = RwLock::new(Arc::new(make(&contents)?));
        let last = Mutex::new(Last { contents, problem: None });
        Ok(Self(Arc::new(Inner { what, files, make: Box::new(make), current, last })))
    }

    /// A value that never changes, where one that is reloaded could be.
    pub fn fixed(what: &'static str, value: T) -> Self {
        let make = |_: &[Vec<u8>]| Err(FileError::new(Path::new(""), "it has no files"));
        let (current, last) = (RwLock::new(Arc::new(value)), Mutex::default());
        let (files, make) = (Vec::new(), Box::new(make));
        Self(Arc::new(Inner { what, files, make, current, last }))
    }

    /// The value that is in force now.
    pub fn get(&self) -> Arc<T> {
        self.0.current.read().clone()
    }
}

/// A value of any type.
trait Reload: Send + Sync {
    /// Reads the files again and acts on changes.
    fn reload(&self);
}

impl<T: Send + Sync> Reload for Inner<T> {
    fn reload(&self) {
        let mut last = self.last.lock();
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

/// Reloads all values of a server, every second and on request. Clones share the request.
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
    /// Reloads this value too.
    pub fn add<T: Send + Sync + 'static>(&mut self, reloaded: &Reloaded<T>) {
        self.all.push(reloaded.0.clone());
    }

    /// Has the files read at once, as SIGHUP asks for.
    pub fn reload_now(&self) {
        self.now.notify_one();
    }

    /// Reloads the values until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
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
            // On a thread that may wait for a disk. Its error is a panic, which the hook has
            // reported.
            let _ = spawn_blocking(move || all.iter().for_each(|value| value.reload())).await;
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
    fn files_that_cannot_be_used_change_nothing_and_good_ones_come_into_force() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "1").unwrap();
        let reloaded = Reloaded::open("a number", vec![file.path().to_owned()], number).unwrap();
        for (text, then) in [("one", 1), ("2", 2), ("two", 2), ("2", 2), ("3", 3)] {
            std::fs::write(&file, text).unwrap();
            reloaded.0.reload();
            assert_eq!(*reloaded.get(), then, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        reloaded.0.reload();
        assert_eq!(*reloaded.get(), 3, "the file is gone");
        assert!(reloaded.0.last.lock().problem.is_some());
    }
}
