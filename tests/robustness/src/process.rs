//! A server in its own process, and what runs of such servers share.

use std::{
    error::Error,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};

/// Longer than a server takes to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server process. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    started: Instant,
    /// Kept open: a server that cannot write to its stdout would end.
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: PathBuf,
}

impl Process {
    /// Starts a program. Its stderr goes into a file, replacing its content.
    pub(crate) fn spawn(command: &mut Command, stderr: &Path) -> Result<Self, Box<dyn Error>> {
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

    /// Waits until the server accepts calls. Returns the time since its start.
    pub(crate) async fn serving(&mut self) -> Result<Duration, Box<dyn Error>> {
        match timeout(PATIENCE, self.stdout.next_line()).await? {
            Ok(Some(line)) if line.starts_with("listening on ") => Ok(self.started.elapsed()),
            _ => Err(format!("a server did not start: {}", self.last_line()).into()),
        }
    }

    /// Waits for the exit. Returns whether the process was killed by a signal.
    pub(crate) async fn killed(&mut self) -> io::Result<bool> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.is_ok_and(|ended| ended.is_ok_and(was_killed)))
    }

    /// Suspends the process: operations in the kernel may still complete, but its threads do not
    /// learn of it.
    pub(crate) fn freeze(&self) -> Result<(), Box<dyn Error>> {
        Ok(kill_process(self.id()?, Signal::STOP)?)
    }

    /// Kills the process. Returns whether it was still running.
    pub(crate) async fn kill(&mut self) -> io::Result<bool> {
        let alive = self.child.try_wait()?.is_none();
        self.child.kill().await?;
        Ok(alive)
    }

    /// Asks the process to stop, and checks that it exits successfully.
    pub(crate) async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        kill_process(self.id()?, Signal::TERM)?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        if status.success() {
            return Ok(());
        }
        Err(format!("a server did not stop successfully: {status}: {}", self.last_line()).into())
    }

    fn id(&self) -> Result<Pid, Box<dyn Error>> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        id.ok_or_else(|| "a server ended by itself".into())
    }

    /// Whether this text is on its stderr.
    pub(crate) fn has_logged(&self, what: &str) -> bool {
        self.logged().contains(what)
    }

    fn logged(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// The last line on stderr.
    fn last_line(&self) -> String {
        self.logged().lines().next_back().unwrap_or("no output").to_owned()
    }
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// Waits until something has happened, up to a limit. Returns whether it has.
pub(crate) async fn until(most: Duration, happened: impl Fn() -> bool) -> bool {
    let waiting = async {
        while !happened() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(most, waiting).await.is_ok()
}

/// A free address, each time another. Its port is below those of outgoing connections, so that no
/// client's own connection takes it while no server is running.
pub(crate) fn free_address() -> Result<SocketAddr, Box<dyn Error>> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random()));
    let mut some = (0..100).map(|_| {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    });
    let free = some.find(|address| TcpListener::bind(address).is_ok());
    free.ok_or_else(|| "there is no free port between 20000 and 30000".into())
}
