//! The signals that stop the server, and the one that reloads its files.
//!
//! SIGHUP has two senders. A terminal that is closed sends it to the programs that were started
//! from it, which then end. An operator sends it to a service, which then reads its files again, as
//! nginx does. The terminal tells which of them it was: the kernel takes it from its processes
//! before it signals that it was closed.

use std::{fs::File, io};

use quartet_connection::reload::Reloader;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it is ignored, as `nohup` has it.
    hangup: Option<Signal>,
    /// Whether the server was started from a terminal.
    had_terminal: bool,
    /// Whether there are files that an operator may want to be read again.
    has_files: bool,
}

impl Signals {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub(crate) fn new(has_files: bool) -> io::Result<Self> {
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
            had_terminal: has_terminal(),
            has_files,
        })
    }

    /// Waits until the server is to stop. Reloads its files meanwhile, when that is asked for.
    pub(crate) async fn stop(&mut self, reloader: Option<&Reloader>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                () = next(&mut self.hangup) => {
                    let is_closed = self.had_terminal && !has_terminal();
                    if is_closed || !self.has_files {
                        return;
                    }
                    reloader.inspect(|reloader| reloader.reload_now());
                }
            }
        }
    }

    /// Waits for the next SIGINT or SIGTERM. Not SIGHUP: a closed terminal may send several.
    pub(crate) async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether this process has a controlling terminal.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP was ignored when the process started. It stays ignored then. Only Linux says so.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, which is the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}
