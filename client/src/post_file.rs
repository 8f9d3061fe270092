//! A file of posts to upload: one JSON object per line, `{"post_id"?, "user_id", "title", "body"?, "tags"?}`.
//!
//! Posts are read as they are sent. A post without `post_id` gets one that is derived from its content and from how many
//! equal posts stand before it in the file, so that uploading a file twice stores it once, and two equal posts stay two.
//! To count them, reading keeps at most 36 bytes per distinct post without an id, and nothing for one that has an id.
//!
//! Derived ids are for honest files: SipHash with a public key keeps different contents apart by chance (128 bits),
//! not against somebody who looks for a collision. Posts that collide are refused by the server, never mixed up.

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
use serde::Deserialize;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::lines::{Line, lines};

/// Bytes of a line: a post of the largest size with every character escaped.
const LINE_BYTES: usize = 1024 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of a post that is worth sending: the server ends an upload at a message over its limit.
const POST_BYTES: usize = limits::REQUEST_BYTES - 16;

/// A file that can be read from the start again.
#[derive(Debug)]
pub struct PostFile(Arc<File>);

impl PostFile {
    /// The file at `path`. A pipe is copied first.
    ///
    /// # Errors
    /// It cannot be opened, or not copied.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(Self(Arc::new(file))),
            false => Self::spool(file),
        }
    }

    /// A copy of `input` in a temporary file. It has no name: however the process ends, nothing is left of it.
    ///
    /// # Errors
    /// `input` cannot be read, or the copy not written.
    pub fn spool(mut input: impl Read) -> io::Result<Self> {
        let mut copy = tempfile::tempfile()?;
        io::copy(&mut input, &mut copy)?;
        Ok(Self(Arc::new(copy)))
    }

    /// The posts and the lines that are none, from the start.
    pub fn entries(&self) -> impl Iterator<Item = io::Result<Entry>> + use<> {
        entries(BufReader::with_capacity(READ_BYTES, self.reader()))
    }

    fn reader(&self) -> FromStart {
        FromStart { file: self.0.clone(), position: 0 }
    }

    /// About how many posts there are: the number of line feeds.
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

    /// The line numbers of some posts, which are given by their index among the posts. Reads the file once more.
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

/// Reads a file at a position of its own, whoever else reads it.
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
    /// Its number, from 1.
    pub line: u64,
    /// Its post, or what is wrong with it.
    pub post: Result<PostMessage, String>,
}

fn entries(input: impl io::BufRead) -> impl Iterator<Item = io::Result<Entry>> {
    let mut occurrences = Occurrences::default();
    let numbered = (1..).zip(lines(input, LINE_BYTES));
    numbered.filter_map(move |(line, content)| match content {
        Ok(Line::Whole(bytes)) if bytes.trim_ascii().is_empty() => None,
        Ok(Line::Whole(bytes)) => Some(Ok(Entry { line, post: parse(&bytes, &mut occurrences) })),
        Ok(Line::TooLong) => {
            Some(Ok(Entry { line, post: Err(format!("it is longer than {LINE_BYTES} bytes")) }))
        }
        Err(error) => Some(Err(error)),
    })
}

/// The line as it is written. An unknown field is refused: it is a typo, and the log keeps posts for ever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPost {
    post_id: Option<String>,
    user_id: String,
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    tags: Vec<String>,
}

fn parse(bytes: &[u8], occurrences: &mut Occurrences) -> Result<PostMessage, String> {
    let JsonPost { post_id, user_id, title, body, tags } =
        serde_json::from_slice(bytes).map_err(|error| describe(&error))?;
    let mut post = PostMessage { user_id, title, body, tags, ..Default::default() };
    post.post_id = post_id.unwrap_or_else(|| occurrences.derive_id(&post));
    match post.encoded_len() {
        ..=POST_BYTES => Ok(post),
        bytes => Err(format!("the post has {bytes} bytes, {POST_BYTES} can be sent")),
    }
}

/// serde_json counts lines itself; here every text has one, and its number stands in [`Entry`].
fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&place) {
        Some(problem) => format!("{problem} at column {}", error.column()),
        None => message,
    }
}

/// How many equal posts have been seen. Half of the hash is enough for counting: two contents that share it get
/// occurrence numbers with holes, and different ids all the same.
#[derive(Default)]
struct Occurrences(HashMap<u64, u32>);

impl Occurrences {
    /// 32 hexadecimal digits: SipHash-2-4-128 of the content and its occurrence number. It must never change.
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

/// The length first, so that "ab" "c" and "a" "bc" differ.
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
        let entries = read(
            "\n{\"post_id\":\"p\",\"user_id\":\"1\",\"title\":\"t\",\"body\":\"b\",\"tags\":[\"x\"]}\r\n \n",
        );
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
    fn a_file_can_be_read_again_and_says_on_which_line_a_post_stands() {
        let text = format!("{HELLO}\n\nbad\n{HELLO}\n{HELLO}\n");
        let file = PostFile::spool(text.as_bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!(file.entries().count(), 4);
        }
        let numbers = file.line_numbers(&[0, 2]).unwrap();
        assert_eq!(numbers, HashMap::from([(0, 1), (2, 5)]));
    }
}
