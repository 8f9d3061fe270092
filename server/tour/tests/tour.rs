//! The tour, as a process.

use std::process::Command;

#[test]
fn the_tour_finds_everything_in_order() {
    let output = Command::new(env!("CARGO_BIN_EXE_tour")).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("All in order."), "{stdout}");
}
