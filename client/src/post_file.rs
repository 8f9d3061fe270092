//! A file of posts to upload. Each line is one JSON object,
//! `{"post_id"?, "user_id", "title", "body"?, "tags"?}`. What a reader prints with `--json` is such
//! a file too: its posts have fields that the server sets, which are left out, and its other events
//! are passed over.
//!
//! Posts are read as they are sent. A missing `post_id` is derived from the content of the post and
//! the number of equal posts before it in the file. So uploading a file twice stores it once, and
//! two equal posts stay two. To count equal posts, reading keeps at most 36 bytes per distinct post
//! without an id, and nothing for a post that has one.
//!
//! Derived ids are meant for honest files: SipHash with a public key makes an accidental collision
//! unlikely (128 bits), but does not stop an attacker who searches for one. If two posts collide,
//! the server refuses the second; it never mixes them up.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::Hasher,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use quartet::{codec::Encode as _, limits, post::v1::PostMessage};
use serde::{Deserialize, de::IgnoredAny};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::lines::{Line, lines};

/// Limit of a line in bytes: the largest post, with every character escaped.
const LINE_BYTES: usize = 1024 * 1024;
/// Bytes per read.
const READ_BYTES: usize = 256 * 1024;
/// Limit of an encoded post in bytes. The server would end the whole upload at a larger message.
const POST_BYTES: usize = limits::REQUEST_BYTES - 16;

/// A file that can be read from the start again.
#[derive(Debug)]
pub struct PostFile(Arc<File>);

impl PostFile {
    /// Opens the file at `path`. A pipe is copied first.
    ///
    /// # Errors
    /// The file cannot be opened or copied.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(Self(Arc::new(file))),
            false => Self::spool(file),
        }
    }

    /// Copies `input` into a temporary file without a name, which is gone when the process ends.
    ///
    /// # Errors
    /// `input` cannot be read, or the copy cannot be written.
    pub fn spool(mut input: impl Read) -> io::Result<Self> {
        let mut copy = tempfile::tempfile()?;
        io::copy(&mut input, &mut copy)?;
        Ok(Self(Arc::new(copy)))
    }

    /// The entries from the start of the file: posts, and lines that are not posts.
    pub fn entries(&self) -> impl Iterator<Item = io::Result<Entry>> + use<> {
        entries(BufReader::with_capacity(READ_BYTES, self.reader()))
    }

    fn reader(&self) -> FromStart {
        FromStart { file: self.0.clone(), position: 0 }
    }

    /// Estimates the number of posts: the number of line feeds.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn estimate(&self) -> io::Result<u64> {
        let mut file = self.reader();
        let mut buffer = vec![0; READ_BYTES];
        let mut line_feeds = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(line_feeds),
                n => line_feeds += buffer[..n].iter().filter(|&&b| b == b'\n').count() as u64,
            }
        }
    }

    /// The line numbers of posts, given by their indices among the posts. Reads the file again.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn line_numbers(&self, indices: &[i64]) -> io::Result<HashMap<i64, u64>> {
        let wanted: HashSet<i64> = indices.iter().copied().collect();
        let Some(&last) = indices.iter().max() else { return Ok(HashMap::new()) };
        let mut numbers = HashMap::new();
        let mut index = 0;
        for entry in self.entries() {
            let entry = entry?;
            if entry.post.is_err() {
                continue;
            }
            if wanted.contains(&index) {
                numbers.insert(index, entry.line);
            }
            index += 1;
            if index > last {
                break;
            }
        }
        Ok(numbers)
    }
}

/// Reads a shared file with a position of its own.
struct FromStart {
    file: Arc<File>,
    position: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read_at(buffer, self.position)?;
        self.position += bytes as u64;
        Ok(bytes)
    }
}

/// A line that is not blank.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// The number of the line, from 1.
    pub line: u64,
    /// The post, or what is wrong with the line.
    pub post: Result<PostMessage, String>,
}

fn entries(input: impl io::BufRead) -> impl Iterator<Item = io::Result<Entry>> {
    let mut occurrences = Occurrences::default();
    let numbered = (1..).zip(lines(input, LINE_BYTES));
    numbered.filter_map(move |(line, content)| match content {
        Ok(Line::Whole(bytes)) if bytes.trim_ascii().is_empty() => None,
        Ok(Line::Whole(bytes)) => {
            let post = parse(&bytes, &mut occurrences);
            let is_post = post.is_ok() || !is_other_event(&bytes);
            is_post.then_some(Ok(Entry { line, post }))
        }
        Ok(Line::TooLong) => {
            Some(Ok(Entry { line, post: Err(format!("it is longer than {LINE_BYTES} bytes")) }))
        }
        Err(error) => Some(Err(error)),
    })
}

/// A line as JSON. An unknown field is refused, because it is a typo and posts cannot be changed.
/// `null` means that a field is absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPost {
    post_id: Option<String>,
    user_id: String,
    title: String,
    body: Option<String>,
    tags: Option<Vec<String>>,
    /// `post` in the output of a reader.
    event: Option<String>,
    /// Set by the server.
    sequence: Option<IgnoredAny>,
    /// Set by the server.
    author: Option<IgnoredAny>,
}

impl JsonPost {
    /// Refuses what only a server can say, unless it is a server's.
    fn check(&self) -> Result<(), String> {
        let by_server = [("sequence", self.sequence.is_some()), ("author", self.author.is_some())];
        match self.event.as_deref() {
            Some("post") => Ok(()),
            Some(event) => Err(format!("a post's event is \"post\", not {event:?}")),
            None => by_server.iter().find(|(_, given)| *given).map_or(Ok(()), |(name, _)| {
                Err(format!("the server sets `{name}`: leave it out, or add \"event\": \"post\""))
            }),
        }
    }
}

/// The events that readers print beside posts.
const OTHER_EVENTS: [&str; 8] = [
    "bookmark",
    "joined",
    "left",
    "receipt",
    "reconnected",
    "served_by",
    "snapshot_complete",
    "uploaded",
];

/// Whether a line is something else that a reader has printed.
fn is_other_event(bytes: &[u8]) -> bool {
    let object: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let event = object.as_ref().and_then(|object| object["event"].as_str());
    event.is_some_and(|event| OTHER_EVENTS.contains(&event))
}

fn parse(bytes: &[u8], occurrences: &mut Occurrences) -> Result<PostMessage, String> {
    // serde would take an array for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(r#"it must be a JSON object: {"user_id": "1", "title": "Hello"}"#.to_owned());
    }
    let json: JsonPost = serde_json::from_slice(bytes).map_err(|error| describe(&error))?;
    json.check()?;
    let JsonPost { post_id, user_id, title, body, tags, .. } = json;
    let (body, tags) = (body.unwrap_or_default(), tags.unwrap_or_default());
    let mut post = PostMessage { user_id, title, body, tags, ..Default::default() };
    post.post_id = post_id.unwrap_or_else(|| occurrences.derive_id(&post));
    match post.encoded_len() {
        ..=POST_BYTES => Ok(post),
        bytes => Err(format!("the post has {bytes} bytes, {POST_BYTES} can be sent")),
    }
}

/// Removes serde_json's line number, which is always 1 here: [`Entry`] has the number. JSON has
/// arrays, not sequences.
fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string().replace("a sequence", "an array");
    let place = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&place) {
        Some(problem) => format!("{problem} at column {}", error.column()),
        None => message,
    }
}

/// Counts equal posts, by half of their hash. Two contents that share it get occurrence numbers
/// with gaps, and their ids still differ.
#[derive(Default)]
struct Occurrences(HashMap<u64, u32>);

impl Occurrences {
    /// 32 hexadecimal digits: SipHash-2-4-128 of the content and its occurrence number. The
    /// function must never change.
    fn derive_id(&mut self, post: &PostMessage) -> String {
        let mut hasher = SipHasher24::new_with_key(b"quartet post id.");
        hash_text(&mut hasher, &post.user_id);
        hash_text(&mut hasher, &post.title);
        hash_text(&mut hasher, &post.body);
        for tag in &post.tags {
            hash_text(&mut hasher, tag);
        }
        let occurrence = self.0.entry(hasher.finish128().h1).or_default();
        hasher.write(&occurrence.to_le_bytes());
        *occurrence = occurrence.wrapping_add(1);
        format!("{:032x}", hasher.finish128().as_u128())
    }
}

/// Hashes the length first, so that "ab" "c" and "a" "bc" differ.
fn hash_text(hasher: &mut SipHasher24, text: &str) {
    hasher.write(&(text.len() as u64).to_le_bytes());
    hasher.write(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Entry> {
        entries(text.as_bytes()).collect::<io::Result<_>>().unwrap()
    }

    fn ids(text: &str) -> Vec<String> {
        read(text).into_iter().map(|entry| entry.post.unwrap().post_id).collect()
    }

    const HELLO: &str = r#"{"user_id": "1", "title": "hello"}"#;

    #[test]
    fn a_post_is_read_with_its_line_number_and_blank_lines_are_not_posts() {
        let line = r#"{"post_id":"p","user_id":"1","title":"t","body":"b","tags":["x"]}"#;
        let entries = read(&format!("\n{line}\r\n \n"));
        let post = PostMessage {
            post_id: "p".into(),
            user_id: "1".into(),
            title: "t".into(),
            body: "b".into(),
            tags: vec!["x".into()],
            ..Default::default()
        };
        assert_eq!(entries, [Entry { line: 2, post: Ok(post) }]);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_and_the_others_are_read() {
        let text = format!("{{\n{HELLO}\n{{\"user_id\":\"1\",\"titel\":\"t\"}}\n\u{1}\n");
        let entries = read(&text);
        let problems: Vec<_> = entries.iter().map(|entry| entry.post.as_ref().err()).collect();
        assert!(problems[0].is_some_and(|p| p.contains("EOF")), "{problems:?}");
        assert!(problems[1].is_none(), "{problems:?}");
        assert!(problems[2].is_some_and(|p| p.contains("unknown field `titel`")), "{problems:?}");
        assert!(problems[3].is_some_and(|p| !p.contains("line")), "{problems:?}");
    }

    #[test]
    fn a_line_is_an_object_and_the_message_says_so_in_words_of_json() {
        for (line, problem) in [
            (r#"[null,"1","t","b",["x"]]"#, "it must be a JSON object"),
            (r#""a""#, "it must be a JSON object"),
            ("null", "it must be a JSON object"),
            (r#"{"user_id":1,"title":"t"}"#, "expected a string at column 12"),
            (r#"{"user_id":"1","title":"t","tags":"x"}"#, "expected an array"),
            (r#"{"user_id":"1","title":"t","author":"A"}"#, "the server sets `author`"),
            (r#"{"event":"pots","user_id":"1","title":"t"}"#, "a post's event is \"post\""),
        ] {
            let found = read(line)[0].post.clone().unwrap_err();
            assert!(found.contains(problem), "{line}: {found}");
            for name in ["struct", "JsonPost", "Vec", "Option", "sequence"] {
                assert!(!found.contains(name), "{line}: {found}");
            }
        }
    }

    #[test]
    fn null_is_an_absent_field() {
        let null = r#"{"post_id":null,"user_id":"1","title":"hello","body":null,"tags":null}"#;
        assert_eq!(ids(null), ids(HELLO));
    }

    #[test]
    fn what_a_reader_prints_as_json_can_be_uploaded() {
        use crate::output::{Event, Position, Printer};
        let mut post = PostMessage {
            post_id: "p".into(),
            user_id: "1".into(),
            author: "Henry".into(),
            title: "t".into(),
            body: "b".into(),
            tags: vec!["x".into()],
            sequence: 7,
            ..Default::default()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut printer = Printer::new(Box::new(file.reopen().unwrap()), true, false);
        printer.received(&Event::from(&post)).unwrap();
        let position = Default::default();
        printer.received(&Event::SnapshotComplete { position: Position(&position) }).unwrap();
        let entries: Vec<_> = PostFile::open(file.path()).unwrap().entries().collect();
        (post.author, post.sequence) = Default::default();
        assert_eq!(entries.len(), 1, "only the post: {entries:?}");
        assert_eq!(entries[0].as_ref().unwrap().post, Ok(post));
    }

    #[test]
    fn a_post_that_would_end_the_upload_is_a_bad_line() {
        let text = format!(r#"{{"user_id":"1","title":"t","body":"{}"}}"#, "x".repeat(POST_BYTES));
        assert!(read(&text)[0].post.as_ref().is_err_and(|problem| problem.contains("bytes")));
    }

    #[test]
    fn derived_ids_are_the_same_every_time() {
        // A change here would store every file twice.
        assert_eq!(ids(HELLO), ["3de030b48d1bd3277107b0c160cd255d"]);
    }

    #[test]
    fn equal_posts_stay_two_and_different_posts_never_share_an_id() {
        let texts = [
            HELLO,
            HELLO,
            r#"{"user_id": "1", "title": "hello", "body": "x"}"#,
            r#"{"user_id": "1", "title": "hellox"}"#,
            r#"{"user_id": "1", "title": "hello", "tags": ["x"]}"#,
            r#"{"user_id": "1", "title": "hello", "tags": ["x", ""]}"#,
        ];
        let ids: HashSet<_> = ids(&texts.join("\n")).into_iter().collect();
        assert_eq!(ids.len(), texts.len());
        assert!(ids.iter().all(|id| id.len() <= limits::ID_CHARS));
    }

    #[test]
    fn a_file_can_be_read_again_and_gives_the_line_number_of_a_post() {
        let text = format!("{HELLO}\n\nbad\n{HELLO}\n{HELLO}\n");
        let file = PostFile::spool(text.as_bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!(file.entries().count(), 4);
        }
        let numbers = file.line_numbers(&[0, 2]).unwrap();
        assert_eq!(numbers, HashMap::from([(0, 1), (2, 5)]));
    }
}
