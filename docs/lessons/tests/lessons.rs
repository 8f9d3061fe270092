//! Every exercise fails as its page promises, and every solution passes.

use std::fs;

use quartet_lessons::lesson::Lesson;

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
