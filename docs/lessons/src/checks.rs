//! One check for each lesson, in the order of the course.

pub mod bookmark;
pub mod broadcast;
pub mod cancel;
pub mod deadline;
pub mod drops;
pub mod finish;
pub mod interceptor;
pub mod laziness;
pub mod lock;
pub mod pings;
pub mod queue;
pub mod resume;
pub mod retry;
pub mod status;
pub mod token;
pub mod waiting;
