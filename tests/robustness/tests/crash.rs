//! Real servers, brought down in every way that needs no privilege. `crash --power` does those that
//! do.

#![allow(missing_docs, clippy::unwrap_used)] // test code

use std::path::PathBuf;

use quartet_check::{Promise, check, void};
use quartet_robustness::crash::{Plan, run, volume::Volume};

/// One of each kind.
const CYCLES: usize = 10;

#[tokio::test]
async fn whatever_brings_a_server_down_every_promise_holds_and_it_serves_again_within_two_seconds()
{
    let failing_server = PathBuf::from(env!("CARGO_BIN_EXE_failing-server"));
    let server = failing_server.with_file_name("server");
    let plan = Plan { seed: 1, cycles: CYCLES, server, failing_server };
    let outcome = run(&plan, Volume::directory().unwrap()).await.unwrap();
    let mut history = outcome.history;
    assert_eq!(outcome.wrong, Vec::<String>::new());
    assert_eq!(check(&history), []);
    assert_eq!(void(&history), None);
    assert!(history.run.faults.values().all(|fault| fault.fired > 0), "{:?}", history.run.faults);

    // The run can tell: the same, with a log that lost its newer half. The newest post alone would
    // not do, because the last server may have stopped before it told anybody of it.
    history.log.truncate(history.log.len() / 2);
    assert!(check(&history).iter().any(|broken| broken.promise == Promise::Durable));
}
