//! Lessons that check themselves.
//!
//! A lesson is a folder beside this crate's manifest: a page, hints, and `exercise.rs`, a small
//! program with one fault. [`checks`] has one function for each lesson: it runs a program against
//! the real server over a connection that it can read and break, and returns a
//! [`Verdict`](verdict::Verdict). It never reads the source of the program.
//!
//! Exercises and solutions are outside of this library: the binary `check-lesson` compiles the
//! exercises, and the test compiles both. So an exercise that does not compile stops only its
//! check, and a save rebuilds one small crate.
//!
//! Reading order: [`stage`], [`wire`], [`reader`], [`judge`], then [`checks`].

pub mod checks;
pub mod judge;
pub mod lesson;
pub mod progress;
pub mod reader;
pub mod stage;
pub mod verdict;
pub mod wire;

/// The function that runs lesson `$lesson` with the programs of the module `$programs`.
///
/// It returns `None` for a number without a lesson.
#[macro_export]
macro_rules! check_with {
    ($programs:ident) => {
        |lesson: usize| -> Option<$crate::verdict::Verdict> {
            use $crate::{checks, stage::run};
            Some(match lesson {
                1 => run(checks::laziness::check($programs::e01::count)),
                2 => run(checks::status::check($programs::e02::read_all)),
                3 => run(checks::finish::check($programs::e03::upload)),
                4 => run(checks::resume::check($programs::e04::read_all)),
                5 => run(checks::bookmark::check($programs::e05::consume)),
                6 => run(checks::queue::check($programs::e06::relay)),
                7 => run(checks::drops::check($programs::e07::follow)),
                8 => run(checks::deadline::check($programs::e08::follow)),
                9 => run(checks::retry::check($programs::e09::publish)),
                10 => run(checks::cancel::check($programs::e10::receive)),
                11 => run(checks::broadcast::check($programs::e11::deliver)),
                12 => run(checks::pings::check($programs::e12::keepalive)),
                13 => run(checks::lock::check($programs::e13::author)),
                14 => run(checks::interceptor::check($programs::e14::observe)),
                15 => run(checks::token::check($programs::e15::follow)),
                16 => run(checks::waiting::check($programs::e16::a_post_reaches_its_reader)),
                _ => return None,
            })
        }
    };
}
