//! Every exercise fails as its page promises, and every solution passes.

use std::fs;

use quartet_lessons::{lesson::Lesson, progress::Progress};

#[path = "../exercises.rs"]
#[allow(clippy::all, clippy::disallowed_methods, clippy::await_holding_lock)] // faults on purpose
#[allow(missing_docs, unreachable_pub, unused)]
mod exercises;
#[path = "../solutions/mod.rs"]
#[allow(missing_docs, unreachable_pub)]
mod solutions;

#[test]
fn every_exercise_fails_with_the_message_of_its_page() {
    let check = quartet_lessons::check_with!(exercises);
    for lesson in Lesson::all() {
        let verdict = check(lesson.number).unwrap().unwrap_err();
        let page = fs::read_to_string(lesson.page()).unwrap();
        let shown = page.contains(&format!("\n```text\n{verdict}\n```\n"));
        assert!(shown, "{} does not show:\n{verdict}", lesson.name);
    }
}

#[test]
fn every_solution_passes() {
    let check = quartet_lessons::check_with!(solutions);
    for lesson in Lesson::all() {
        assert_eq!(check(lesson.number), Some(Ok(())), "{}", lesson.name);
    }
}

#[test]
fn a_number_without_a_lesson_has_no_verdict() {
    let check = quartet_lessons::check_with!(solutions);
    assert_eq!((check(0), check(Lesson::all().len() + 1)), (None, None));
}

#[test]
fn every_lesson_has_hints_that_name_no_solution_file() {
    for lesson in Lesson::all() {
        let hints = lesson.hints().unwrap();
        assert!(hints.len() >= 3, "{}", lesson.name);
        assert!(hints.iter().all(|hint| !hint.is_empty() && !hint.contains("solutions/")));
    }
}

#[test]
fn progress_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (file, lessons) = (folder.path().join("progress"), Lesson::all());
    let mut progress = Progress::load_from(file.clone());
    progress.pass(&lessons[0]).unwrap();
    progress.show_hint(&lessons[1]).unwrap();
    progress.show_hint(&lessons[1]).unwrap();

    let kept = Progress::load_from(file);
    assert_eq!((kept.has_passed(&lessons[0]), kept.has_passed(&lessons[1])), (true, false));
    assert_eq!((kept.hints(&lessons[0]), kept.hints(&lessons[1])), (0, 2));
}
