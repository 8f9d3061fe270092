//! Runs the tour's clients: the commands of `quartet-client`, in this process, on one screen.

use std::{
    error::Error,
    fs,
    io::{self, LineWriter, Read, Write},
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use clap::Parser;
use quartet_client::command::{Failure, Io};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::task::TaskTracker;

/// Longer than any step of the tour takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The address of a server, and the clients that run against it.
pub(crate) struct Stage {
    endpoint: String,
    /// The directory of the clients' files.
    folder: PathBuf,
    /// Whether each part waits for Enter.
    step: bool,
    clients: TaskTracker,
}

/// A running client.
pub(crate) struct Client {
    command: String,
    /// Lines for its stdin; dropped to end the input.
    keyboard: Option<SyncSender<String>>,
    output: watch::Receiver<Vec<String>>,
    talk: watch::Receiver<Vec<String>>,
    running: JoinHandle<Result<(), Failure>>,
}

impl Stage {
    pub(crate) fn new(endpoint: String, folder: PathBuf, step: bool) -> Self {
        Self { endpoint, folder, step, clients: TaskTracker::new() }
    }

    /// Begins a part of the tour; with `--step`, after Enter.
    pub(crate) fn part(&self, title: &str, about: &str) -> io::Result<()> {
        if self.step {
            io::stdin().read_line(&mut String::new())?;
        }
        say(format_args!("\n{title}\n{about}\n"));
        Ok(())
    }

    /// Writes a file into the clients' directory.
    pub(crate) fn file(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), text)
    }

    /// Starts a command and shows its output, with the client's name before each line.
    pub(crate) fn start<A, R>(&self, name: &str, command: &str, run: fn(A, Io) -> R) -> Client
    where
        A: Parser,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        say(format_args!("{name:>8} $ {command}"));
        self.start_hidden(command, Some(name.to_owned()), run)
    }

    fn start_hidden<A, R>(&self, command: &str, name: Option<String>, run: fn(A, Io) -> R) -> Client
    where
        A: Parser,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let args = command.split(' ').map(|word| self.path(word));
        let args = A::parse_from(args.chain(["--endpoint".to_owned(), self.endpoint.clone()]));
        let (keyboard, input) = sync_channel(1);
        let (out, output) = Screen::new(name);
        let (err, talk) = Screen::new(None);
        let io = Io::new(Typed { input, rest: Vec::new() }, out, err);
        let running = self.clients.spawn(run(args, io));
        Client { command: command.to_owned(), keyboard: Some(keyboard), output, talk, running }
    }

    /// Names of files are relative to the clients' directory.
    fn path(&self, word: &str) -> String {
        match word.ends_with(".jsonl") {
            true => self.folder.join(word).display().to_string(),
            false => word.to_owned(),
        }
    }

    /// Runs a command to its end and returns its output without showing it.
    pub(crate) async fn ask<A, R>(
        &self,
        command: &str,
        run: fn(A, Io) -> R,
    ) -> Result<Vec<String>, Box<dyn Error>>
    where
        A: Parser,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.start_hidden(command, None, run).end().await
    }
}

impl Client {
    /// Sends a line to the client's stdin.
    pub(crate) fn types(&self, line: &str) -> Result<(), Box<dyn Error>> {
        let keyboard = self.keyboard.as_ref().ok_or("the input has ended")?;
        Ok(keyboard.send(format!("{line}\n"))?)
    }

    /// Waits until the client has printed a line that contains `text`.
    pub(crate) async fn shows(&mut self, text: &str) -> Result<(), Box<dyn Error>> {
        let shown = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        match timeout(PATIENCE, self.output.wait_for(shown)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(format!("{} did not show {text:?}", self.command).into()),
        }
    }

    /// Closes the client's stdin, waits for the client, and returns its output.
    pub(crate) async fn end(mut self) -> Result<Vec<String>, Box<dyn Error>> {
        self.keyboard = None;
        let ended = timeout(PATIENCE, &mut self.running).await;
        let ended = ended.map_err(|_| format!("{} does not end", self.command))?;
        if let Err(failure) = ended? {
            let talk = self.talk.borrow().join("\n");
            return Err(format!("{}: {failure}\n{talk}", self.command).into());
        }
        Ok(self.output.borrow().clone())
    }
}

/// A stdin that the tour writes.
struct Typed {
    input: Receiver<String>,
    rest: Vec<u8>,
}

impl Read for Typed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            // The sender is dropped at the end of the input.
            self.rest = self.input.recv().unwrap_or_default().into_bytes();
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// An output that is kept, and shown if it has a name. Lines of several clients are not mixed.
struct Screen {
    name: Option<String>,
    lines: watch::Sender<Vec<String>>,
}

impl Screen {
    fn new(name: Option<String>) -> (LineWriter<Self>, watch::Receiver<Vec<String>>) {
        let (lines, shown) = watch::channel(Vec::new());
        (LineWriter::new(Self { name, lines }), shown)
    }
}

impl Write for Screen {
    /// Gets whole lines, because a `LineWriter` wraps it.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(text).lines() {
            if let Some(name) = &self.name {
                say(format_args!("{name:>8} {line}"));
            }
            self.lines.send_modify(|lines| lines.push(line.to_owned()));
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Prints a line. A closed stdout does not stop the tour: its exit code still tells the result.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
