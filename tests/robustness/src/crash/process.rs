//! A server that is a process of its own.

use std::{
    error::Error,
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longer than a server takes to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server process. It is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    started: Instant,
    /// Kept, because a server that cannot write to its stdout would end.
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: PathBuf,
}

impl Process {
    /// Starts a program. What it says on stderr goes into a file, in place of what is there.
    pub(super) fn spawn(command: &mut Command, stderr: &Path) -> Result<Self, Box<dyn Error>> {
        let program = command.as_std().get_program().to_owned();
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(stderr)?)
            .kill_on_drop(true)
            .spawn();
        let mut child =
            spawned.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let stdout = child.stdout.take().ok_or("invariant: stdout is a pipe")?;
        let stdout = BufReader::new(stdout).lines();
        Ok(Self { child, started: Instant::now(), stdout, stderr: stderr.to_owned() })
    }

    /// Waits until it takes calls. Returns how long that took from its start.
    pub(super) async fn serving(&mut self) -> Result<Duration, Box<dyn Error>> {
        match timeout(PATIENCE, self.stdout.next_line()).await? {
            Ok(Some(line)) if line.starts_with("listening on ") => Ok(self.started.elapsed()),
            _ => Err(format!("a server did not start: {}", self.last_words()).into()),
        }
    }

    /// Waits until it has ended. Returns whether it was killed.
    pub(super) async fn killed(&mut self) -> io::Result<bool> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.is_ok_and(|ended| ended.is_ok_and(was_killed)))
    }

    /// Stops it where it is: what its threads wait for may still happen, but they do not learn of
    /// it.
    pub(super) fn freeze(&self) -> Result<(), Box<dyn Error>> {
        Ok(kill_process(self.id()?, Signal::STOP)?)
    }

    /// Kills it. Returns whether it was there to be killed.
    pub(super) async fn kill(&mut self) -> io::Result<bool> {
        let alive = self.child.try_wait()?.is_none();
        self.child.kill().await?;
        Ok(alive)
    }

    /// Asks it to stop, which it must do well.
    pub(super) async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        kill_process(self.id()?, Signal::TERM)?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        if status.success() {
            return Ok(());
        }
        Err(format!("a server did not stop well: {status}: {}", self.last_words()).into())
    }

    fn id(&self) -> Result<Pid, Box<dyn Error>> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        id.ok_or_else(|| "a server ended by itself".into())
    }

    /// Whether it said this on stderr.
    pub(super) fn has_said(&self, what: &str) -> bool {
        self.said().contains(what)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// The last line that it said.
    fn last_words(&self) -> String {
        self.said().lines().next_back().unwrap_or("it said nothing").to_owned()
    }
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
