//! What a command prints: data on stdout, messages for people on stderr.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use quartet::post::v1::LogPosition;

use crate::{
    output::{Clean, Printer, continue_after, counted},
    resume::Disconnected,
};

/// The output of a command.
pub(super) struct Console {
    /// Data.
    pub(super) printer: Printer,
    /// Stderr for people.
    pub(super) stderr: Stderr,
    /// Whether stderr is a terminal, on which a progress bar can move.
    pub(super) has_progress_bar: bool,
}

impl Console {
    /// Shows that a call is made.
    pub(super) fn show_call(&mut self, call: impl Display) -> io::Result<()> {
        self.printer.sent("call", call)?;
        self.printer.flush()
    }

    /// Shows that the call was cut, and when it is made again.
    pub(super) fn say_disconnected(&self, Disconnected { cause, delay }: &Disconnected) {
        self.stderr.say(format_args!("{cause}; trying again in {delay:.0?}"));
    }

    /// Says at the end how many posts were printed and how to continue after them. Without a
    /// position, the server has answered nothing.
    pub(super) fn say_total(&self, posts: u64, position: Option<&LogPosition>) {
        let Some(position) = position else { return };
        let (posts, next) = (counted(posts, "post"), continue_after(position));
        if self.printer.is_closed() {
            // What a pipe has taken, its reader may have left unread: `head` does.
            let after = format_args!("the output was closed after {posts}; {next}");
            self.stderr
                .say(format_args!("{after}, or with the number of the last post that you saw"));
        } else {
            self.stderr.say(format_args!("{posts}; {next}"));
        }
    }
}

/// Lines for people on stderr. Clones write to the same place.
#[derive(Clone)]
pub(super) struct Stderr(Arc<Mutex<Box<dyn Write + Send>>>);

impl Stderr {
    pub(super) fn new(err: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(err))))
    }

    pub(super) fn say(&self, line: impl Display) {
        let mut err = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // If stderr is closed, the exit code has to do.
        let _ = writeln!(err, "{}", Clean(&line.to_string())).and_then(|()| err.flush());
    }
}
