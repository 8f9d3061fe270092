//! The simulator: a seed is a run, and every planted bug is found.
//!
//! `simulate --seeds 500`, a separate step of `tests/run`, checks that the server itself has no
//! bugs.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)] // test code

use std::thread;

use clap::ValueEnum as _;
use quartet_check::{History, check, void};
use quartet_robustness::simulation::{self, Bug};

fn simulated(seed: u64, bug: Option<Bug>) -> History {
    let run = thread::spawn(move || simulation::run(seed, bug));
    run.join().unwrap().unwrap()
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in [3, 12, 40] {
        let (one, two) = (simulated(seed, None), simulated(seed, None));
        let (one, two) = (one.to_lines(), two.to_lines());
        let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(one.len(), two.len(), "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_history() {
    assert_ne!(simulated(3, None).events, simulated(4, None).events);
}

#[test]
fn every_planted_bug_is_found_at_its_seed_by_the_promise_that_it_breaks() {
    for bug in Bug::value_variants() {
        let broken = check(&simulated(bug.seed(), Some(*bug)));
        let found = broken.iter().any(|broken| broken.promise == bug.breaks());
        assert!(found, "{}: {broken:#?}", bug.name());
    }
}

#[test]
fn a_run_without_a_bug_breaks_no_promise_and_counts() {
    let history = simulated(1, None);
    assert_eq!(check(&history), []);
    assert_eq!(void(&history), None);
}
