//! What a terminal can show. All programs of the suite ask here, so that they agree.

use std::{
    env,
    io::{self, IsTerminal},
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};

/// Whether to print colours here: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`;
/// `CLICOLOR_FORCE` prints them anywhere (<https://no-color.org>, <https://bixense.com/clicolors>).
pub fn shows_colors(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Whether a line that was printed here can be replaced: on a terminal, unless `TERM` is `dumb`.
pub fn can_redraw(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether stderr can show progress.
pub fn shows_progress() -> bool {
    can_redraw(&io::stderr())
}
