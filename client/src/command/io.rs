//! Where a command reads and writes, and what stops it.

use std::{
    fmt, future,
    io::{self, BufWriter, IsTerminal as _, Read, Write},
    pin::Pin,
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use tokio::sync::oneshot;

use super::terminal;

/// Something that happens at most once, such as Ctrl-C.
pub(super) type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a command reads and writes, and what stops it.
pub struct Io {
    /// What is typed or piped in.
    pub input: Box<dyn Read + Send>,
    /// Data. Writes are small, so it should buffer; it is flushed after every event.
    pub out: Box<dyn Write + Send>,
    /// Messages for people: errors, pauses, totals.
    pub err: Box<dyn Write + Send>,
    /// Resolves when the user wants to stop.
    pub interrupt: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Resolves when the reader of `out` has gone. A command that waits for posts learns it from
    /// this; otherwise it would learn it with its next write.
    pub unread: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether `out` is a terminal that shows colours.
    pub color: bool,
    /// Whether `input` is a terminal, which has shown what was typed.
    pub echo: bool,
    /// Whether `input` and `out` are the terminal of this process, on which a line can be typed
    /// below the output.
    pub dialog: bool,
    /// Whether `err` is a terminal, on which a progress bar can move.
    pub progress: bool,
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("color", &self.color).field("echo", &self.echo).finish()
    }
}

impl Io {
    /// Without a terminal, never interrupted, and with a reader that never goes.
    pub fn new(
        input: impl Read + Send + 'static,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            input: Box::new(input),
            out: Box::new(out),
            err: Box::new(err),
            interrupt: Box::pin(future::pending()),
            unread: Box::pin(future::pending()),
            color: false,
            echo: false,
            dialog: false,
            progress: false,
        }
    }

    /// The standard streams of the process, interrupted by Ctrl-C.
    pub fn process() -> Self {
        Self {
            interrupt: Box::pin(ctrl_c()),
            unread: Box::pin(stdout_unread()),
            color: terminal::shows_colors(&io::stdout()),
            echo: io::stdin().is_terminal(),
            dialog: io::stdin().is_terminal() && terminal::can_redraw(&io::stdout()),
            progress: terminal::shows_progress(),
            ..Self::new(io::stdin(), BufWriter::new(io::stdout()), io::stderr())
        }
    }
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the signal ends the process by itself.
        future::pending::<()>().await;
    }
}

/// Resolves when stdout is a pipe without a reader, or a terminal that was closed.
async fn stdout_unread() {
    let (report, unread) = oneshot::channel();
    let watch = move || {
        let stdout = io::stdout();
        // Errors and hang-ups are reported without being requested.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let polled = retry_on_intr(|| poll(&mut watched, None));
        if polled.is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            // The command may have ended already.
            let _ = report.send(());
        }
    };
    // The thread is not joined: a poll cannot be interrupted. If it cannot be started, the next
    // write notices.
    let _ = thread::Builder::new().name("stdout".into()).spawn(watch);
    if unread.await.is_err() {
        future::pending::<()>().await;
    }
}
