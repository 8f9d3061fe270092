//! The list of lessons.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folders of the lessons, in the order of the course.
const FOLDERS: &[&str] = &[
    "01-a-stream-is-lazy",
    "02-the-status-at-the-end",
    "03-finish-an-upload",
    "04-resume-after-a-position",
    "05-save-a-bookmark-last",
    "06-a-queue-has-a-bound",
    "07-select-drops-the-loser",
    "08-a-deadline-is-for-the-call",
    "09-a-retry-keeps-its-id",
    "10-a-cancelled-upload-is-no-end",
    "11-a-slow-reader-misses-nothing",
    "12-pings-have-a-limit",
    "13-no-lock-across-a-call",
    "14-an-interceptor-sees-streams",
    "15-a-token-expires-in-mid-stream",
    "16-a-test-waits-for-events",
];

/// A lesson and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// Its place in the course, from 1.
    pub number: usize,
    /// Its folder's name, such as `01-a-stream-is-lazy`.
    pub name: &'static str,
}

impl Lesson {
    /// All lessons, in order.
    pub fn all() -> Vec<Self> {
        FOLDERS.iter().zip(1..).map(|(&name, number)| Self { number, name }).collect()
    }

    /// The page of the lesson.
    pub fn page(&self) -> PathBuf {
        root().join(self.name).join("README.md")
    }

    /// The program that a learner changes.
    pub fn exercise(&self) -> PathBuf {
        root().join(self.name).join("exercise.rs")
    }

    /// One program that passes. Nothing but `--reveal` opens it.
    pub fn solution(&self) -> PathBuf {
        root().join("solutions").join(format!("{}.rs", self.name))
    }

    /// The hints, from the vaguest to the plainest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn hints(&self) -> io::Result<Vec<String>> {
        let text = fs::read_to_string(root().join(self.name).join("hints.txt"))?;
        Ok(text.split("\n\n").map(|hint| hint.trim().to_owned()).collect())
    }
}

/// The folder of the lessons, where this crate was built.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
