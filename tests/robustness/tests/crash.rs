//! Real servers, brought down in every way that needs no privilege. `crash --power` does the
//! others.

#![allow(missing_docs, clippy::unwrap_used)] // test code

use std::path::PathBuf;

use quartet_check::{Promise, check, void};
use quartet_robustness::crash::{Plan, run, volume::Volume};

/// One cycle of each kind.
const CYCLES: usize = 10;

#[tokio::test]
async fn after_every_kind_of_crash_promises_hold_and_the_server_restarts_within_two_seconds() {
    let failing_server = PathBuf::from(env!("CARGO_BIN_EXE_failing-server"));
    let server = failing_server.with_file_name("server");
    let plan = Plan { seed: 1, cycles: CYCLES, server, failing_server };
    let outcome = run(&plan, Volume::directory().unwrap()).await.unwrap();
    let mut history = outcome.history;
    assert_eq!(outcome.wrong, Vec::<String>::new());
    assert_eq!(check(&history), []);
    assert_eq!(void(&history), None);
    assert!(history.run.faults.values().all(|fault| fault.fired > 0), "{:?}", history.run.faults);

    // The check can fail: repeat it with a log that lost its newer half. Removing only the newest
    // post would not do, because the last server may have stopped before acknowledging it.
    history.log.truncate(history.log.len() / 2);
    assert!(check(&history).iter().any(|broken| broken.promise == Promise::Durable));
}
