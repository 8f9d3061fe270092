//! A program in a terminal: what is typed, what it prints, how it ends.
//!
//! What is typed comes from a terminal; what is printed goes into a pipe, so that it has no colours
//! and no progress bars. Compared are stdout, the exit code, and that nothing is printed which the
//! page does not show; addresses, random ids, times and rates are masked on both sides.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write as _},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use regex::Regex;
use rustix::{
    fs::{Mode, OFlags},
    io::{FdFlags, fcntl_setfd},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};

use super::{console::LEFT_OUT, pattern::regex};

/// A line that does not come within it is missing. Only a page that fails takes so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A command that was started, with its process group. Dropping it kills the group.
pub(super) struct Program {
    child: Child,
    /// The keyboard of the terminal that it reads from.
    keyboard: File,
    lines: Receiver<String>,
    reader: Option<thread::JoinHandle<()>>,
    stderr: PathBuf,
    /// Whether the page leaves out what comes after the lines that it shows.
    rest_left_out: bool,
    /// Whether it was told to end, by an interrupt or by the end of its input.
    ending: bool,
    /// Whether its end was waited for: then its process id may be another's already.
    ended: bool,
}

/// What a terminal takes for the end of the input.
const END_OF_INPUT: char = '\x04';

impl Program {
    pub(super) fn start(mut command: Command, stderr: PathBuf) -> io::Result<Self> {
        let (keyboard, stdin) = terminal()?;
        command.stdin(stdin).stdout(Stdio::piped()).stderr(File::create(&stderr)?);
        let mut child = command.process_group(0).spawn()?;
        let stdout = child.stdout.take().expect("stdout: piped above");
        // Enough for any page; a program that prints more waits until the page reads on.
        let (printed, lines) = sync_channel(1024);
        let reader = thread::spawn(move || {
            let mut stdout = BufReader::new(stdout).lines().map_while(Result::ok);
            while stdout.next().is_some_and(|line| printed.send(line).is_ok()) {}
        });
        Ok(Self {
            child,
            keyboard,
            lines,
            reader: Some(reader),
            stderr,
            rest_left_out: false,
            ending: false,
            ended: false,
        })
    }

    pub(super) fn type_keys(&mut self, keys: &str) -> Result<(), String> {
        let typed = self.keyboard.write_all(keys.as_bytes());
        self.ending |= keys.contains(END_OF_INPUT);
        typed.map_err(|error| format!("cannot type {keys:?}: {error}"))
    }

    /// Interrupts the program, unless it is ending already: a second time would mean "at once".
    pub(super) fn interrupt(&mut self) {
        if !self.ending {
            self.signal("INT");
            self.ending = true;
        }
    }

    /// Sends a signal to the whole group, as a terminal does. That it is gone already is no
    /// failure.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let kill =
            Command::new("kill").args(["-s", name, "--", &group]).stderr(Stdio::null()).status();
        kill.expect("kill: every system has it");
    }

    /// Reads the lines that the page shows next, and returns what was printed.
    pub(super) fn expect(
        &mut self,
        expected: &[String],
        by_kind: bool,
    ) -> Result<Vec<String>, String> {
        let mut printed = Vec::new();
        let read = if by_kind { Self::read_by_kind } else { Self::read_in_order };
        match read(self, expected, &mut printed) {
            Ok(()) => Ok(printed),
            Err(why) => {
                // What follows the difference tells the reader of the failure more than the
                // difference.
                printed.extend(self.lines.try_iter());
                Err(self.drift(&why, expected, &printed))
            }
        }
    }

    fn read_in_order(
        &mut self,
        expected: &[String],
        printed: &mut Vec<String>,
    ) -> Result<(), String> {
        let mut leaving_out = self.rest_left_out;
        for line in expected {
            if line == LEFT_OUT {
                leaving_out = true;
                continue;
            }
            loop {
                let next = self.next_line()?;
                printed.push(next.clone());
                match mask(&next) == mask(line) {
                    true => break,
                    false if leaving_out => {}
                    false => return Err(format!("{next:?} was printed instead of {line:?}")),
                }
            }
            leaving_out = false;
        }
        self.rest_left_out = leaving_out;
        Ok(())
    }

    fn read_by_kind(
        &mut self,
        expected: &[String],
        printed: &mut Vec<String>,
    ) -> Result<(), String> {
        for _ in expected {
            printed.push(self.next_line()?);
        }
        self.rest_left_out = false;
        let same = sorted_by_kind(expected) == sorted_by_kind(printed);
        if same { Ok(()) } else { Err("other lines were printed".to_owned()) }
    }

    /// Reads what is printed until the program ends, or nothing has come for so long.
    pub(super) fn read_all(&self, quiet: Duration) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(quiet).ok()).collect()
    }

    fn next_line(&self) -> Result<String, String> {
        self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => "a line did not come in time".to_owned(),
            RecvTimeoutError::Disconnected => {
                "the program ended before it printed all that is shown".to_owned()
            }
        })
    }

    /// Waits for the program's end: nothing may come any more, and its exit code is as expected.
    pub(super) fn end(mut self, exit: i32) -> Result<(), String> {
        let rest = self.read_all(PATIENCE);
        if self.lines.try_recv() != Err(TryRecvError::Disconnected) {
            return Err(self.drift("the program did not end in time", &[], &rest));
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        self.ended = true;
        if status.code() != Some(exit) {
            return Err(self.drift(&format!("{status}, not {exit}"), &[], &rest));
        }
        if !rest.is_empty() && !self.rest_left_out {
            return Err(self.drift("more was printed than is shown", &[], &rest));
        }
        Ok(())
    }

    fn drift(&self, why: &str, expected: &[String], printed: &[String]) -> String {
        let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
        let (expected, printed) = (expected.join("\n"), printed.join("\n"));
        format!("{why}\n--- shown\n{expected}\n--- printed\n{printed}\n--- on stderr\n{stderr}")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.ended {
            self.signal("KILL");
            // How it ended does not matter any more, only that it did.
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            while self.lines.recv().is_ok() {}
            let _ = reader.join();
        }
    }
}

/// A terminal to read from, as a program sees it that a person types to, and its keyboard. Nothing
/// is echoed.
fn terminal() -> io::Result<(File, OwnedFd)> {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    fcntl_setfd(&keyboard, FdFlags::CLOEXEC)?; // no program holds another's keyboard
    grantpt(&keyboard)?;
    unlockpt(&keyboard)?;
    let name = ptsname(&keyboard, Vec::new())?;
    let stdin =
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut modes = tcgetattr(&stdin)?;
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &modes)?;
    Ok((keyboard.into(), stdin))
}

/// A line without what is different in every run.
pub(super) fn mask(line: &str) -> String {
    static MASKS: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
        [
            (regex(r"127\.0\.0\.1:[0-9]+"), "ADDRESS"),
            (regex(r"\b[0-9a-f]{16}([0-9a-f]{16})?\b"), "ID"),
            (regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"), "TIME"),
            (regex(r" *[0-9][0-9,.]* ?([kKMG]i?B|posts)/s"), " RATE"),
            (regex(r" *\b[0-9][0-9.]* ?(ns|µs|us|ms|s|m|h)\b"), " DURATION"),
        ]
    });
    MASKS
        .iter()
        .fold(line.to_owned(), |line, (what, name)| what.replace_all(&line, *name).into_owned())
}

fn sorted_by_kind(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<_> = lines.iter().map(|line| mask(line)).collect();
    lines.sort_by_key(|line| kind(line)); // stable: the order within a kind stays
    lines
}

/// The `event` of a JSON line, or the first word of another: arrows are not words.
fn kind(line: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let event = json.as_ref().and_then(|json| json["event"].as_str());
    let mut words = line.split_whitespace();
    let word = words.find(|word| word.contains(char::is_alphanumeric));
    event.or(word).unwrap_or_default().to_owned()
}
