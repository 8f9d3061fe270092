//! A line that is being typed while other lines are printed.
//!
//! A terminal that edits lines by itself lets a line that is printed cut the one being typed in
//! two. Here the terminal delivers keys, and the line is kept below the output: it is erased before
//! something is printed, and drawn again after it. The keys are those of the terminal's own
//! editing: Backspace, Ctrl-W, Ctrl-U, Ctrl-D; Ctrl-C stays a signal.
//!
//! Crates that edit lines can do much more, but print on the thread that reads keys, which nothing
//! can wait for: the last lines of a feed might be lost when the program ends.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::io::Io;

/// Bytes of a line; further ones are ignored.
const LINE_BYTES: usize = 64 * 1024;
/// Goes to the begin of the line and erases it.
const ERASE: &[u8] = b"\r\x1b[K";
/// The width of a terminal that does not tell it.
const COLUMNS: usize = 80;

const BACKSPACE: [char; 2] = ['\x08', '\x7f'];
const END_OF_INPUT: char = '\x04';
const ERASE_LINE: char = '\x15';
const ERASE_WORD: char = '\x17';
const ESCAPE: char = '\x1b';

/// Keeps the typed line of this process's terminal below its output, until the guard is dropped.
///
/// # Errors
/// The modes of the terminal cannot be set.
pub(super) fn below(io: Io) -> io::Result<(Io, Keys)> {
    let screen = Screen::new(io.out, || {
        let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
        if columns == 0 { COLUMNS } else { columns }
    });
    let screen = Arc::new(Mutex::new(screen));
    let keys = Keys::deliver(screen.clone())?;
    let above = |other| Above { screen: screen.clone(), text: Vec::new(), other };
    let err: Box<dyn Write + Send> = match io.progress {
        true => Box::new(above(Some(io.err))),
        false => io.err,
    };
    let out = Box::new(above(None));
    let input = Box::new(Typed::new(io.input, screen.clone()));
    Ok((Io { input, out, err, ..io }, keys))
}

/// The modes of a terminal that delivers keys. Dropping it removes an unfinished line and restores
/// the modes.
pub(super) struct Keys {
    before: Termios,
    screen: Arc<Mutex<Screen>>,
}

impl Keys {
    fn deliver(screen: Arc<Mutex<Screen>>) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        Ok(Self { before, screen })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut screen = lock(&self.screen);
        screen.line.clear();
        // A terminal that was closed needs neither.
        let _ = screen.draw();
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A terminal whose last line is being typed.
struct Screen {
    out: Box<dyn Write + Send>,
    line: String,
    columns: fn() -> usize,
}

impl Screen {
    fn new(out: Box<dyn Write + Send>, columns: fn() -> usize) -> Self {
        Self { out, line: String::new(), columns }
    }

    /// Draws the end of the line, as much as fits before the cursor.
    fn draw(&mut self) -> io::Result<()> {
        let columns = (self.columns)().saturating_sub(1);
        let mut shown = self.line.as_str();
        while shown.width() > columns {
            let mut chars = shown.chars();
            chars.next();
            shown = chars.as_str();
        }
        self.out.write_all(ERASE)?;
        self.out.write_all(shown.as_bytes())?;
        self.out.flush()
    }

    /// Prints whole lines above the line.
    fn print(&mut self, text: &[u8], other: &mut Option<Box<dyn Write + Send>>) -> io::Result<()> {
        self.out.write_all(ERASE)?;
        match other {
            Some(other) => {
                self.out.flush()?;
                other.write_all(text)?;
                other.flush()?;
            }
            None => self.out.write_all(text)?,
        }
        self.draw()
    }

    /// Ends the line, which stays as it is, and begins an empty one.
    fn enter(&mut self) -> io::Result<String> {
        let line = std::mem::take(&mut self.line) + "\n";
        self.out.write_all(ERASE)?;
        self.out.write_all(line.as_bytes())?;
        self.out.flush()?;
        Ok(line)
    }

    fn erase_word(&mut self) {
        let rest = self.line.trim_end();
        let begin = rest.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        // A space may take several bytes, so the begin is found among the characters.
        let begin = (begin..=rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
        self.line.truncate(begin);
    }
}

/// Output above the line, printed with each flush.
struct Above {
    screen: Arc<Mutex<Screen>>,
    text: Vec<u8>,
    /// Another way to the same terminal.
    other: Option<Box<dyn Write + Send>>,
}

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return Ok(());
        }
        lock(&self.screen).print(&text, &mut self.other)
    }
}

/// The lines that are typed.
struct Typed {
    keys: Box<dyn Read + Send>,
    screen: Arc<Mutex<Screen>>,
    /// Bytes of a character that is not complete.
    partial: Vec<u8>,
    /// Whether the keys are those of an escape sequence, such as that of an arrow.
    in_escape: bool,
    /// Lines that were entered and not yet read.
    entered: Vec<u8>,
    has_ended: bool,
}

impl Typed {
    fn new(keys: Box<dyn Read + Send>, screen: Arc<Mutex<Screen>>) -> Self {
        let (partial, entered) = (Vec::new(), Vec::new());
        Self { keys, screen, partial, in_escape: false, entered, has_ended: false }
    }

    fn read_keys(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let count = self.keys.read(&mut bytes)?;
        self.has_ended = count == 0;
        for byte in &bytes[..count] {
            if self.has_ended {
                break;
            }
            self.partial.push(*byte);
            match std::str::from_utf8(&self.partial).map(|text| text.chars().next()) {
                Ok(Some(key)) => {
                    self.partial.clear();
                    self.press(key)?;
                }
                // The next byte may complete it.
                Err(error) if error.error_len().is_none() => {}
                Ok(None) | Err(_) => self.partial.clear(),
            }
        }
        lock(&self.screen).draw()
    }

    fn press(&mut self, key: char) -> io::Result<()> {
        let mut screen = lock(&self.screen);
        if self.in_escape {
            // "[" and "O" begin a sequence, whose parameters are digits and punctuation.
            self.in_escape = !(key.is_ascii_alphabetic() && key != 'O' || key == '~');
            return Ok(());
        }
        match key {
            '\n' | '\r' => self.entered.extend_from_slice(screen.enter()?.as_bytes()),
            END_OF_INPUT => self.has_ended |= screen.line.is_empty(),
            ESCAPE => self.in_escape = true,
            ERASE_LINE => screen.line.clear(),
            ERASE_WORD => screen.erase_word(),
            key if BACKSPACE.contains(&key) => {
                // What takes no column of its own goes with the character that it changes.
                while screen.line.pop().is_some_and(|gone| gone.width() == Some(0)) {}
            }
            '\t' => screen.line.push(' '),
            key if !key.is_control() && screen.line.len() < LINE_BYTES => screen.line.push(key),
            _ => {}
        }
        Ok(())
    }
}

impl Read for Typed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.entered.is_empty() && !self.has_ended {
            self.read_keys()?;
        }
        let count = buffer.len().min(self.entered.len());
        buffer[..count].copy_from_slice(&self.entered[..count]);
        self.entered.drain(..count);
        Ok(count)
    }
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written to a terminal.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        /// The lines that a person sees.
        fn seen(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let line = |line: &str| {
                let shown = line.rsplit("\r\x1b[K").next().unwrap_or_default();
                shown.to_owned()
            };
            text.split('\n').map(line).collect()
        }
    }

    fn terminal(columns: fn() -> usize) -> (Written, Arc<Mutex<Screen>>) {
        let written = Written::default();
        let screen = Screen::new(Box::new(written.clone()), columns);
        (written, Arc::new(Mutex::new(screen)))
    }

    /// Types keys until they end, and returns the lines that were entered.
    fn type_keys(screen: &Arc<Mutex<Screen>>, keys: &'static str) -> String {
        let mut lines = String::new();
        let mut typed = Typed::new(Box::new(keys.as_bytes()), screen.clone());
        typed.read_to_string(&mut lines).unwrap();
        lines
    }

    #[test]
    fn a_post_that_comes_in_does_not_split_the_line_being_typed() {
        let (written, screen) = terminal(|| 80);
        let mut out = Above { screen: screen.clone(), text: Vec::new(), other: None };
        assert_eq!(type_keys(&screen, "hel"), "");
        out.write_all(b"a post\n").unwrap();
        assert_eq!(written.seen(), ["hel"], "it is printed as a whole");
        out.flush().unwrap();
        assert_eq!(written.seen(), ["a post", "hel"]);
        assert_eq!(type_keys(&screen, "lo\n"), "hello\n");
        assert_eq!(written.seen(), ["a post", "hello", ""]);
        let err = Some(Box::new(written.clone()) as Box<dyn Write + Send>);
        let mut err = Above { screen: screen.clone(), text: Vec::new(), other: err };
        type_keys(&screen, "x");
        writeln!(err, "a hint").unwrap();
        err.flush().unwrap();
        assert_eq!(written.seen(), ["a post", "hello", "a hint", "x"]);
    }

    #[test]
    fn the_keys_are_those_of_a_terminal() {
        for (keys, entered) in [
            ("helo\x7flo\n", "hello\n"),
            ("한글\x7f\n", "한\n"),
            ("e\u{301}\x7fx\n", "x\n"),
            ("one two \x17three\n", "one three\n"),
            ("one\x15two\r", "two\n"),
            ("a\x1b[Db\x1bOAc\x1b[3~\td\n", "abc d\n"),
            ("a\x04b\n\x04never\n", "ab\n"),
            ("one\ntwo\nthree", "one\ntwo\n"),
        ] {
            assert_eq!(type_keys(&terminal(|| 80).1, keys), entered, "{keys:?}");
        }
    }

    #[test]
    fn of_a_line_wider_than_the_terminal_the_end_is_shown_until_it_is_entered() {
        let (written, screen) = terminal(|| 6);
        type_keys(&screen, "one 한글");
        assert_eq!(written.seen(), [" 한글"]);
        type_keys(&screen, "\n");
        assert_eq!(written.seen(), ["one 한글", ""]);
    }
}
