//! Where the tour's clients play: the real commands of `quartet-client`, in this process, on one
//! screen.

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

/// A server's address, and the clients that talk to it.
pub(crate) struct Stage {
    endpoint: String,
    /// Where the clients' files are.
    folder: PathBuf,
    /// Whether Enter starts each part.
    step: bool,
    clients: TaskTracker,
}

/// A client that runs.
pub(crate) struct Client {
    command: String,
    /// What it types; closed to end its input.
    keyboard: Option<SyncSender<String>>,
    output: watch::Receiver<Vec<String>>,
    talk: watch::Receiver<Vec<String>>,
    running: JoinHandle<Result<(), Failure>>,
}

impl Stage {
    pub(crate) fn new(endpoint: String, folder: PathBuf, step: bool) -> Self {
        Self { endpoint, folder, step, clients: TaskTracker::new() }
    }

    /// Begins a part of the tour, once somebody pressed Enter if they asked to.
    pub(crate) fn part(&self, title: &str, about: &str) -> io::Result<()> {
        if self.step {
            io::stdin().read_line(&mut String::new())?;
        }
        say(format_args!("\n{title}\n{about}\n"));
        Ok(())
    }

    /// Writes a file that clients can name.
    pub(crate) fn file(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), text)
    }

    /// Starts a command and shows what it prints, each line behind the client's name.
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

    /// A file is named as if the client were in the folder.
    fn path(&self, word: &str) -> String {
        match word.ends_with(".jsonl") {
            true => self.folder.join(word).display().to_string(),
            false => word.to_owned(),
        }
    }

    /// Runs a command to its end and returns what it printed, without showing it.
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
    /// Types a line.
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

    /// Ends the client's input, waits for the client, and returns what it printed.
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

/// An input that is typed by the tour.
struct Typed {
    input: Receiver<String>,
    rest: Vec<u8>,
}

impl Read for Typed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            // The other end is dropped to end the input.
            self.rest = self.input.recv().unwrap_or_default().into_bytes();
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// An output that is kept, and shown if it has a name. Lines of several clients do not mix.
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
    /// Takes whole lines, because a `LineWriter` stands before it.
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

/// Prints a line. A reader that has gone is no reason to stop: the exit code still tells how the
/// tour went.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
