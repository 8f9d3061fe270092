//! One check for each lesson, in the order of the course.

pub mod bookmark;
pub mod finish;
pub mod laziness;
pub mod queue;
pub mod resume;
pub mod status;
