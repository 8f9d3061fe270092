//! One program for each lesson that passes its check.

#[path = "01-a-stream-is-lazy.rs"]
pub mod e01;
#[path = "02-the-status-at-the-end.rs"]
pub mod e02;
#[path = "03-finish-an-upload.rs"]
pub mod e03;
#[path = "04-resume-after-a-position.rs"]
pub mod e04;
#[path = "05-save-a-bookmark-last.rs"]
pub mod e05;
#[path = "06-a-queue-has-a-bound.rs"]
pub mod e06;
