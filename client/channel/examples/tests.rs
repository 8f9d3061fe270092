//! Runs the examples, which check themselves.

use std::process::Command;

#[test]
fn round_robin_and_retry_succeeds_and_shows_one_retried_call() {
    let output = Command::new(env!("CARGO_BIN_EXE_round_robin_and_retry")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("after 1 failed attempt").count(), 1, "{text}");
}
