//! What a learner has done so far: a small file beside the lessons.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use crate::lesson::{Lesson, root};

/// The lessons passed and the hints seen. Each change is saved at once.
#[derive(Debug)]
pub struct Progress {
    file: PathBuf,
    lessons: BTreeMap<String, Done>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Done {
    passed: bool,
    hints: usize,
}

impl Progress {
    /// The progress in `docs/lessons/.progress`; none if there is no such file.
    pub fn load() -> Self {
        Self::load_from(root().join(".progress"))
    }

    /// The progress in another file. Lines that are no progress are ignored.
    pub fn load_from(file: PathBuf) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let line = |line: &str| {
            let [name, passed, hints] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
            let done = Done { passed: passed == "passed", hints: hints.parse().ok()? };
            Some((name.to_owned(), done))
        };
        Self { file, lessons: text.lines().filter_map(line).collect() }
    }

    /// Whether the lesson was passed.
    pub fn has_passed(&self, lesson: &Lesson) -> bool {
        self.lessons.get(lesson.name).is_some_and(|done| done.passed)
    }

    /// How many of its hints were shown.
    pub fn hints(&self, lesson: &Lesson) -> usize {
        self.lessons.get(lesson.name).map_or(0, |done| done.hints)
    }

    /// Notes that the lesson was passed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn pass(&mut self, lesson: &Lesson) -> io::Result<()> {
        self.change(lesson, |done| done.passed = true)
    }

    /// Notes that one more hint was shown.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn show_hint(&mut self, lesson: &Lesson) -> io::Result<()> {
        self.change(lesson, |done| done.hints += 1)
    }

    fn change(&mut self, lesson: &Lesson, change: impl FnOnce(&mut Done)) -> io::Result<()> {
        change(self.lessons.entry(lesson.name.to_owned()).or_default());
        let line = |(name, done): (&String, &Done)| {
            format!("{name} {} {}\n", if done.passed { "passed" } else { "open" }, done.hints)
        };
        fs::write(&self.file, self.lessons.iter().map(line).collect::<String>())
    }
}
