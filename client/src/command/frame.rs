//! The run of a command's call: connection, Ctrl-C, `--timeout`, output and failures.

use std::{future, io::Read, ops::ControlFlow, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use quartet_channel::Channel;

use super::{
    console::{Console, Stderr},
    failure::Failure,
    flags::CommonFlags,
    io::{Io, Signal},
};
use crate::{error::Error, output::Printer};

/// How much longer than its deadline a call may take to end. A server that can be reached reports
/// the end of the deadline itself, and its report is the better one.
const GRACE: Duration = Duration::from_millis(500);

/// What all commands do around their call.
pub(super) struct Frame {
    rpc: &'static str,
    pub(super) flags: CommonFlags,
    pub(super) console: Console,
    /// Ctrl-C.
    interrupt: Signal,
    /// The reader of the output has gone.
    unread: Signal,
    /// Whether the command ends when its output has no reader.
    ends_unread: bool,
}

/// The input of a command.
pub(super) struct Input {
    pub(super) bytes: Box<dyn Read + Send>,
    /// Whether it is a terminal, which has shown what was typed.
    pub(super) is_terminal: bool,
}

impl Frame {
    /// For a command that only reads from the server: it ends when its output has no reader.
    pub(super) fn reader(rpc: &'static str, flags: CommonFlags, io: Io) -> (Self, Input) {
        let printer = Printer::new(io.out, flags.json, io.color);
        let console =
            Console { printer, stderr: Stderr::new(io.err), has_progress_bar: io.progress };
        let (interrupt, unread) = (io.interrupt, io.unread);
        let input = Input { bytes: io.input, is_terminal: io.echo };
        (Self { rpc, flags, console, interrupt, unread, ends_unread: true }, input)
    }

    /// For a command whose work is to write to the server, whether its output is read or not.
    pub(super) fn writer(rpc: &'static str, flags: CommonFlags, io: Io) -> (Self, Input) {
        let (reader, input) = Self::reader(rpc, flags, io);
        (Self { ends_unread: false, ..reader }, input)
    }

    /// A channel for the call.
    pub(super) fn connect(&self) -> Result<Channel, Failure> {
        self.flags.connect().map_err(|error| self.failed(error))
    }

    /// Waits for `work`, unless the user interrupts it first.
    pub(super) async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            () = &mut self.interrupt => Err(Failure::Interrupted),
        }
    }

    /// Shows the events of the call until they end, `show` breaks, or the command is stopped by
    /// Ctrl-C or a closed output.
    ///
    /// # Errors
    /// The failure of the call or of `show`, and [`Failure::TimedOut`].
    pub(super) async fn show_events<E>(
        &mut self,
        events: impl Stream<Item = Result<E, Error>> + Send,
        mut show: impl FnMut(&mut Console, E) -> Result<ControlFlow<()>, Failure> + Send,
    ) -> Result<(), Failure> {
        let mut events = pin!(events);
        let mut time_up = pin!(time_up(self.flags.timeout));
        loop {
            let event = tokio::select! {
                biased; // events that never pause must not outrun the timeout or Ctrl-C
                failure = &mut time_up => return Err(failure),
                () = &mut self.interrupt => return Ok(()),
                () = &mut self.unread, if self.ends_unread => {
                    self.console.printer.close();
                    return Ok(());
                }
                event = events.next() => event,
            };
            let Some(event) = event else { return Ok(()) };
            let event = event.map_err(|error| self.failed(error))?;
            let shown = show(&mut self.console, event)?;
            self.console.printer.flush()?;
            if shown.is_break() || (self.ends_unread && self.console.printer.is_closed()) {
                return Ok(());
            }
        }
    }

    fn failed(&self, error: Error) -> Failure {
        match self.flags.timeout {
            // The deadline passed at the server or in the channel before `time_up` here.
            Some(timeout) if error.is_deadline_exceeded() => Failure::TimedOut(timeout),
            _ => Failure::Call { rpc: self.rpc, endpoint: self.flags.endpoint.clone(), error },
        }
    }
}

async fn time_up(timeout: Option<Duration>) -> Failure {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout.saturating_add(GRACE)).await;
            Failure::TimedOut(timeout)
        }
        None => future::pending().await,
    }
}
