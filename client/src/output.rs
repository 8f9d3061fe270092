//! What the binaries print on stdout: lines for people, with an arrow that shows the direction, or
//! with `--json` one object per line with an `"event"` key.
//!
//! Text of other users is printed with its control characters escaped, so that a title cannot
//! control the terminal.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter, Write as _},
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use quartet::post::v1::{Bookmark, Joined, Left, LogPosition, PostMessage, Receipt};
use quartet_wire::code;
use serde::{Serialize, Serializer};
use tonic::Code;
use tonic_types::{RpcStatusExt as _, pb};
use unicode_width::UnicodeWidthStr as _;

use crate::position;

/// Something that was received, printed as one line.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields are the keys of the JSON objects, as docs/ describes them
pub enum Event<'a> {
    Post {
        sequence: i64,
        post_id: &'a str,
        user_id: &'a str,
        author: &'a str,
        title: &'a str,
        body: &'a str,
        tags: &'a [String],
    },
    SnapshotComplete {
        position: Position<'a>,
    },
    Uploaded {
        created_count: i64,
        duplicate_count: i64,
        reject_count: i64,
        rejects: Vec<Reject<'a>>,
        position: Position<'a>,
        complete: bool,
    },
    Joined {
        tags: &'a [String],
        all_tags: bool,
        position: Position<'a>,
    },
    Left {
        tags: &'a [String],
        all_tags: bool,
        position: Position<'a>,
    },
    Receipt {
        post_id: &'a str,
        sequence: i64,
        duplicate: bool,
        status: Option<RejectStatus<'a>>,
        /// The title. People recognize their post by it; the id is random.
        #[serde(skip)]
        title: &'a str,
    },
    Bookmark {
        position: Position<'a>,
        caught_up: bool,
    },
    /// The end of a unary page. In JSON it is a bookmark like any other.
    #[serde(rename = "bookmark")]
    Page {
        position: Position<'a>,
        caught_up: bool,
        #[serde(skip)]
        posts: usize,
    },
    Reconnected {
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position<'a>>,
    },
    /// How many calls each server answered, by its address.
    ServedBy {
        counts: &'a BTreeMap<String, u64>,
    },
}

/// A position: in JSON `{"log_id", "sequence", "chain"}`, for people the sequence alone.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a>(pub &'a LogPosition);

/// A post of an upload that the server refused.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Reject<'a> {
    pub index: i64,
    pub line: Option<u64>,
    pub post_id: &'a str,
    #[serde(flatten)]
    pub status: Option<RejectStatus<'a>>,
}

/// Why a post was refused.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct RejectStatus<'a> {
    pub code: &'static str,
    pub reason: String,
    pub message: &'a str,
}

impl<'a> Event<'a> {
    /// A receipt for the post with this title.
    pub fn receipt(receipt: &'a Receipt, title: &'a str) -> Self {
        Event::Receipt {
            post_id: &receipt.post_id,
            sequence: receipt.sequence,
            duplicate: receipt.duplicate,
            status: receipt.status.as_ref().map(RejectStatus::from),
            title,
        }
    }
}

impl<'a> From<&'a PostMessage> for Event<'a> {
    fn from(post: &'a PostMessage) -> Self {
        Event::Post {
            sequence: post.sequence,
            post_id: &post.post_id,
            user_id: &post.user_id,
            author: &post.author,
            title: &post.title,
            body: &post.body,
            tags: &post.tags,
        }
    }
}

impl<'a> From<&'a Joined> for Event<'a> {
    fn from(joined: &'a Joined) -> Self {
        let Joined { tags, all_tags, position } = joined;
        Event::Joined { tags, all_tags: *all_tags, position: position.into() }
    }
}

impl<'a> From<&'a Left> for Event<'a> {
    fn from(left: &'a Left) -> Self {
        let Left { tags, all_tags, position } = left;
        Event::Left { tags, all_tags: *all_tags, position: position.into() }
    }
}

impl<'a> From<&'a Bookmark> for Event<'a> {
    fn from(bookmark: &'a Bookmark) -> Self {
        Event::Bookmark { position: (&bookmark.position).into(), caught_up: bookmark.caught_up }
    }
}

impl<'a> From<&'a Option<LogPosition>> for Position<'a> {
    /// An unset position equals the default: sequence 0 of any log.
    fn from(position: &'a Option<LogPosition>) -> Self {
        static UNSET: LogPosition = LogPosition { log_id: String::new(), sequence: 0, chain: 0 };
        Position(position.as_ref().unwrap_or(&UNSET))
    }
}

impl<'a> From<&'a pb::Status> for RejectStatus<'a> {
    fn from(status: &'a pb::Status) -> Self {
        Self {
            code: code::name(Code::from_i32(status.code)),
            reason: status.get_details_error_info().map(|info| info.reason).unwrap_or_default(),
            message: &status.message,
        }
    }
}

impl Serialize for Position<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            log_id: &'a str,
            sequence: i64,
            /// Text: a number in JSON loses bits.
            #[serde(skip_serializing_if = "Option::is_none")]
            chain: Option<String>,
        }
        let LogPosition { log_id, sequence, chain } = self.0;
        // 0 is the same as none: the position is not checked.
        let chain = (*chain != 0).then(|| position::print_chain(*chain));
        Fields { log_id, sequence: *sequence, chain }.serialize(serializer)
    }
}

impl Display for Position<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0.sequence, f)
    }
}

/// The line for people, without its arrow: a word, then the details.
impl Display for Event<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Event::Post { sequence, user_id, author, title, tags, .. } => {
                let name = if author.is_empty() { user_id } else { author };
                let name = Padded(Clean(name), AUTHOR_COLUMNS);
                write!(f, "post     {sequence:>6}  {name}  {}", Headline(title, tags))
            }
            Event::SnapshotComplete { position } => write!(f, "complete up to {position}"),
            Event::Uploaded {
                created_count,
                duplicate_count,
                reject_count,
                position,
                complete,
                ..
            } => {
                let duplicates = counted(duplicate_count.unsigned_abs(), "duplicate");
                let incomplete = if *complete { "" } else { ", incomplete" };
                write!(
                    f,
                    "uploaded {created_count} created, {duplicates}, {reject_count} rejected, \
                     up to {position}{incomplete}"
                )
            }
            Event::Joined { tags, all_tags, position } => {
                write!(f, "joined   {} after {position}", Followed(tags, *all_tags))
            }
            Event::Left { tags, all_tags, position } => {
                write!(f, "left     {} after {position}", Followed(tags, *all_tags))
            }
            Event::Receipt { status: Some(status), title, .. } => {
                write!(f, "receipt  refused  {}: {status}", Clean(title))
            }
            Event::Receipt { sequence, duplicate, title, .. } => {
                let again = if *duplicate { "  (stored before)" } else { "" };
                write!(f, "receipt  {sequence:>6}  {}{again}", Clean(title))
            }
            Event::Bookmark { position, caught_up: true } => {
                write!(f, "bookmark caught up at {position}")
            }
            Event::Bookmark { position, .. } => write!(f, "bookmark up to {position}"),
            Event::Page { position, caught_up, posts } => {
                let more = if *caught_up { "" } else { ", more follow" };
                write!(f, "page     {} up to {position}{more}", counted(*posts as u64, "post"))
            }
            Event::Reconnected { position: Some(position) } => {
                write!(f, "resumed  after {position}")
            }
            Event::Reconnected { position: None } => write!(f, "resumed"),
            Event::ServedBy { counts } => {
                f.write_str(&shares(counts).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

impl Display for RejectStatus<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{}: {}", self.code, Clean(self.message)),
            reason => write!(f, "{} ({}): {}", self.code, Clean(reason), Clean(self.message)),
        }
    }
}

impl Display for Reject<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let line = self.line.map_or_else(|| "?".into(), |line| line.to_string());
        write!(f, "reject   line {line}  {}", Clean(self.post_id))?;
        self.status.iter().try_for_each(|status| write!(f, "  {status}"))
    }
}

/// The lines of [`Event::ServedBy`], one per server. The server with the most calls has the longest
/// bar.
fn shares(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    const BAR: u64 = 40;
    let width = counts.keys().map(|server| server.width()).max().unwrap_or_default();
    let most = counts.values().copied().max().unwrap_or_default().max(1);
    counts.iter().map(move |(server, count)| {
        let length = usize::try_from((count * BAR).div_ceil(most)).unwrap_or_default();
        format!("served   {count:>6}  {server:width$}  {}", "█".repeat(length))
    })
}

/// Columns for a name. A longer name moves the title to the right.
const AUTHOR_COLUMNS: usize = 12;

/// Text of other users, safe to show on a terminal: control characters are escaped, and so are the
/// marks that change the writing direction.
#[derive(Debug, Clone, Copy)]
pub struct Clean<'a>(pub &'a str);

impl Display for Clean<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(f, "{}", c.escape_unicode())
            }
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => f.write_char(c),
        })
    }
}

/// Text padded to a number of columns. A Hangul syllable takes two.
struct Padded<'a>(Clean<'a>, usize);

impl Display for Padded<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let padding = self.1.saturating_sub(text.width());
        write!(f, "{text}{:padding$}", "")
    }
}

/// Tags, each with its `#`.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a>(pub &'a [String]);

impl Display for Tags<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else { return Ok(()) };
        write!(f, "#{}", Clean(first))?;
        others.iter().try_for_each(|tag| write!(f, " #{}", Clean(tag)))
    }
}

/// A title, followed by its tags.
#[derive(Debug, Clone, Copy)]
pub struct Headline<'a>(pub &'a str, pub &'a [String]);

impl Display for Headline<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Headline(title, tags) = *self;
        let gap = if tags.is_empty() { "" } else { "  " };
        write!(f, "{}{gap}{}", Clean(title), Tags(tags))
    }
}

/// What a feed follows.
#[derive(Debug, Clone, Copy)]
pub struct Followed<'a>(pub &'a [String], pub bool);

impl Display for Followed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Followed(_, true) => f.write_str("all tags"),
            Followed([], false) => f.write_str("no tags"),
            Followed(tags, false) => Tags(tags).fmt(f),
        }
    }
}

/// Prints events on an output that may close.
pub struct Printer {
    out: Box<dyn Write + Send>,
    json: bool,
    color: bool,
    closed: bool,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer").field("json", &self.json).field("closed", &self.closed).finish()
    }
}

const SENT: Style = AnsiColor::Green.on_default();
const RECEIVED: Style = AnsiColor::Cyan.on_default();

impl Printer {
    /// Prints to `out`, which should buffer: [`flush`](Printer::flush) follows every event.
    pub fn new(out: Box<dyn Write + Send>, json: bool, color: bool) -> Self {
        Self { out, json, color, closed: false }
    }

    /// Whether the output is JSON, for programs.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the reader of the output has closed it. This is not an error: it has seen enough.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Prints no more, because the reader of the output has closed it.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Prints an event that was received.
    ///
    /// # Errors
    /// The output failed for another reason than that its reader has closed it.
    pub fn received(&mut self, event: &Event<'_>) -> io::Result<()> {
        if self.json {
            let written = serde_json::to_writer(&mut self.out, event).map_err(io::Error::from);
            let written = written.and_then(|()| self.out.write_all(b"\n"));
            return self.unless_closed(written);
        }
        if let Event::ServedBy { counts } = event {
            return shares(counts).try_for_each(|share| self.line(RECEIVED, '←', share));
        }
        self.line(RECEIVED, '←', event)?;
        if let Event::Uploaded { rejects, .. } = event {
            rejects.iter().try_for_each(|reject| self.line(RECEIVED, '←', reject))?;
        }
        Ok(())
    }

    /// Prints, for people only, something that was sent. `word` names its kind.
    ///
    /// # Errors
    /// As for [`received`](Printer::received).
    pub fn sent(&mut self, word: &str, about: impl Display) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.line(SENT, '→', format_args!("{word:<8} {about}"))
    }

    /// Flushes what was printed.
    ///
    /// # Errors
    /// As for [`received`](Printer::received).
    pub fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.unless_closed(flushed)
    }

    fn line(&mut self, style: Style, arrow: char, text: impl Display) -> io::Result<()> {
        let written = match self.color {
            true => writeln!(self.out, "{style}{arrow}{style:#} {text}"),
            false => writeln!(self.out, "{arrow} {text}"),
        };
        self.unless_closed(written)
    }

    fn unless_closed(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

/// `1 post`, `2 posts`.
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The option that continues after a position.
pub fn continue_after(position: &LogPosition) -> String {
    format!("go on with --after {}", position::print(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(author: &str, title: &str) -> PostMessage {
        PostMessage {
            post_id: "p-1".into(),
            user_id: "1".into(),
            author: author.into(),
            title: title.into(),
            tags: vec!["go".into(), "한글".into()],
            sequence: 7,
            ..Default::default()
        }
    }

    #[test]
    fn a_post_is_one_line_and_korean_names_line_up() {
        let latin = post("Kim", "hello");
        let hangul = post("김도진", "안녕");
        assert_eq!(
            Event::from(&latin).to_string(),
            "post          7  Kim           hello  #go #한글"
        );
        assert_eq!(
            Event::from(&hangul).to_string(),
            "post          7  김도진        안녕  #go #한글"
        );
    }

    #[test]
    fn text_of_other_users_cannot_control_the_terminal() {
        let line = Event::from(&post("a\nb", "\u{1b}[2J\u{202e}x")).to_string();
        assert!(line.contains("a\\nb") && line.contains("\\u{1b}[2J\\u{202e}x"), "{line}");
    }

    #[test]
    fn json_has_the_documented_keys_in_their_order() {
        let post = post("Kim", "hello");
        let json = serde_json::to_string(&Event::from(&post)).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"event":"post","sequence":7,"post_id":"p-1","user_id":"1","author":"Kim","#,
                r#""title":"hello","body":"","tags":["go","한글"]}"#
            )
        );
        let bookmark = Bookmark { position: None, caught_up: true };
        assert_eq!(
            serde_json::to_string(&Event::from(&bookmark)).unwrap(),
            r#"{"event":"bookmark","position":{"log_id":"","sequence":0},"caught_up":true}"#
        );
    }

    #[test]
    fn a_refused_post_says_why() {
        let status = pb::Status { code: 5, message: "no user 9".into(), details: vec![] };
        let receipt = Receipt { post_id: "p".into(), status: Some(status), ..Default::default() };
        let event = Event::receipt(&receipt, "hello");
        assert_eq!(event.to_string(), "receipt  refused  hello: NOT_FOUND: no user 9");
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            concat!(
                r#"{"event":"receipt","post_id":"p","sequence":0,"duplicate":false,"#,
                r#""status":{"code":"NOT_FOUND","reason":"","message":"no user 9"}}"#
            )
        );
    }

    struct Full(io::ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_is_not_an_error_and_a_full_disk_is_one() {
        let event = Event::Reconnected { position: None };
        for json in [false, true] {
            let mut gone = Printer::new(Box::new(Full(io::ErrorKind::BrokenPipe)), json, false);
            gone.received(&event).unwrap();
            assert!(gone.is_closed());
            let mut full = Printer::new(Box::new(Full(io::ErrorKind::StorageFull)), json, false);
            assert!(full.received(&event).is_err());
        }
    }
}
