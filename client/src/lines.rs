//! Lines of input whose length is limited, so that no input can fill memory.

use std::{
    io::{self, BufRead, BufReader, Read},
    thread,
};

use tokio::sync::mpsc;

/// A line of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the line feed.
    Whole(Vec<u8>),
    /// It was longer than the limit, and was skipped.
    TooLong,
}

/// Some editors begin a UTF-8 file with it. It is not part of the text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The lines of `input`, each of at most `limit` bytes, without a leading byte order mark.
pub fn lines(input: impl BufRead, limit: usize) -> impl Iterator<Item = io::Result<Line>> {
    let mut input = input;
    let lines = std::iter::from_fn(move || next_line(&mut input, limit).transpose());
    lines.enumerate().map(|(index, line)| match index {
        0 => line.map(Line::without_byte_order_mark),
        _ => line,
    })
}

impl Line {
    fn without_byte_order_mark(self) -> Self {
        match self {
            Line::Whole(bytes) if bytes.starts_with(BYTE_ORDER_MARK) => {
                Line::Whole(bytes[BYTE_ORDER_MARK.len()..].into())
            }
            line => line,
        }
    }
}

fn next_line(input: &mut impl BufRead, limit: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let with_line_feed = limit as u64 + 1;
    if input.by_ref().take(with_line_feed).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() > limit {
        input.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(Line::Whole(line)))
}

/// Lines that the reading thread may be ahead of their receiver.
const LINES_AHEAD: usize = 16;

/// The lines of an input that can block forever, such as a terminal, read on a thread.
///
/// The thread ends with its input, or at the first line after the receiver was dropped. It is not
/// joined: a read from a terminal cannot be interrupted, and the program must be able to exit
/// meanwhile.
///
/// # Errors
/// The thread could not be started. An error of the input is delivered among the lines, where it
/// happened.
pub fn read_in_background(
    input: Box<dyn Read + Send>,
    limit: usize,
) -> io::Result<mpsc::Receiver<io::Result<Line>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    thread::Builder::new().name("input".into()).spawn(move || {
        for line in lines(BufReader::new(input), limit) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str, limit: usize) -> Vec<Line> {
        lines(input.as_bytes(), limit).collect::<io::Result<_>>().unwrap()
    }

    fn whole(line: &str) -> Line {
        Line::Whole(line.into())
    }

    #[test]
    fn lines_end_at_line_feeds_and_at_the_end() {
        assert_eq!(read("", 5), []);
        assert_eq!(read("a\n\nb", 5), [whole("a"), whole(""), whole("b")]);
        assert_eq!(read("a\n", 5), [whole("a")]);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        assert_eq!(read("\u{feff}a\n\u{feff}b", 5), [whole("a"), whole("\u{feff}b")]);
        assert_eq!(read("\u{feff}\na", 5), [whole(""), whole("a")]);
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_is_whole() {
        assert_eq!(read("12345\n123456\n1\n", 5), [whole("12345"), Line::TooLong, whole("1")]);
        assert_eq!(read("123456", 5), [Line::TooLong]);
        assert_eq!(read("12345", 5), [whole("12345")]);
    }
}
