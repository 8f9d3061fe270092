//! The programs that learners change.

#[path = "01-a-stream-is-lazy/exercise.rs"]
pub mod e01;
#[path = "02-the-status-at-the-end/exercise.rs"]
pub mod e02;
#[path = "03-finish-an-upload/exercise.rs"]
pub mod e03;
#[path = "04-resume-after-a-position/exercise.rs"]
pub mod e04;
#[path = "05-save-a-bookmark-last/exercise.rs"]
pub mod e05;
#[path = "06-a-queue-has-a-bound/exercise.rs"]
pub mod e06;
