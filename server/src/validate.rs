//! Validates request messages: every mistake that a caller can make is found here.

use std::collections::BTreeSet;

use quartet::{
    encoded::PostRef,
    limits::{BODY_BYTES, FILTER_TERMS, ID_CHARS, TAG_CHARS, TAGS_PER_POST, TITLE_CHARS},
    post::v1::LogPosition,
    reason,
};
use quartet_log::PostLog;
use tonic::{Code, Status};
use tonic_types::FieldViolation;

use crate::error;

/// Checks the fields that the writer of a post chooses. Reports all violations at once.
pub fn post(post: &PostRef<'_>) -> Result<(), Status> {
    let mut violations = Violations::default();
    violations.check("post_id", id(post.post_id));
    violations.check("user_id", id(post.user_id));
    violations.check("title", text(post.title, TITLE_CHARS));
    if post.body.len() > BODY_BYTES {
        violations.add("body", format!("has {} bytes; at most {BODY_BYTES}", post.body.len()));
    }
    let (mut tags, mut count) = ([""; TAGS_PER_POST], 0);
    for tag in post.tags() {
        if let Some(place) = tags.get_mut(count) {
            *place = tag;
        }
        count += 1;
    }
    if count > TAGS_PER_POST {
        violations.add("tags", format!("has {count} tags; at most {TAGS_PER_POST}"));
    }
    for (index, tag) in tags.iter().take(count).enumerate() {
        if let Err(problem) = text(tag, TAG_CHARS) {
            violations.add(&format!("tags[{index}]"), problem);
        }
        if tags[..index].contains(tag) {
            violations.add(&format!("tags[{index}]"), "occurs twice".to_owned());
        }
    }
    violations.into_result(reason::INVALID_POST)
}

/// Checks a `user_id` in a request.
pub fn user_id(user_id: &str) -> Result<(), Status> {
    let mut violations = Violations::default();
    violations.check("user_id", id(user_id));
    violations.into_result(reason::INVALID_REQUEST)
}

/// Checks the tags in a request, at most `most` of them.
pub fn tags(field: &str, tags: Vec<String>, most: usize) -> Result<BTreeSet<String>, Status> {
    terms(field, tags, most, |tag| text(tag, TAG_CHARS))
}

/// Checks the user ids of a filter.
pub fn filter_user_ids(user_ids: Vec<String>) -> Result<BTreeSet<String>, Status> {
    terms("user_ids", user_ids, FILTER_TERMS, id)
}

/// Checks a position against the log. An unset one is before the first post.
///
/// A chain value other than 0 is compared with that of the log, which costs one read: a log that
/// was restored from a backup and written to since has other posts under the sequences that its
/// readers have passed.
///
/// # Errors
/// The position is negative, or not one of this log; or the log cannot read the post there.
pub async fn position(position: Option<LogPosition>, log: &dyn PostLog) -> Result<u64, Status> {
    let LogPosition { log_id, sequence, chain } = position.unwrap_or_default();
    let Ok(sequence) = u64::try_from(sequence) else {
        return Err(error::invalid_field("resume_after.sequence", "is negative"));
    };
    let reset = |message: String| Err(error::status(Code::OutOfRange, reason::LOG_RESET, message));
    if !log_id.is_empty() && log_id != log.log_id() {
        let log_id = quartet::codec::truncate(&log_id, ID_CHARS);
        return reset(format!("position of log {log_id}, but this is {}", log.log_id()));
    }
    let head = *log.head().borrow();
    if sequence > head {
        return reset(format!("position {sequence} is beyond the newest post, {head}"));
    }
    if chain != 0 && chain != log.chain(sequence).await.map_err(error::of_log)? {
        return reset(format!(
            "the posts up to position {sequence} are not those that were sent with it: this log \
             was restored from a backup or diverged; read again from the start"
        ));
    }
    Ok(sequence)
}

#[derive(Default)]
struct Violations(Vec<FieldViolation>);

impl Violations {
    fn check(&mut self, field: &str, result: Result<(), String>) {
        if let Err(description) = result {
            self.add(field, description);
        }
    }

    fn add(&mut self, field: &str, description: String) {
        self.0.push(FieldViolation::new(field, description));
    }

    fn into_result(self, reason: &str) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(error::invalid(reason, self.0)) }
    }
}

fn terms(
    field: &str,
    terms: Vec<String>,
    most: usize,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<BTreeSet<String>, Status> {
    if terms.len() > most {
        return Err(error::invalid_field(field, format!("names {}; at most {most}", terms.len())));
    }
    let mut violations = Violations::default();
    for (index, term) in terms.iter().enumerate() {
        violations.check(&format!("{field}[{index}]"), check(term));
    }
    violations.into_result(reason::INVALID_REQUEST)?;
    Ok(terms.into_iter().collect())
}

fn id(id: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    // No early exit, so that the compiler checks many bytes at once.
    let all_allowed = |id: &str| id.bytes().fold(true, |all, byte| all & allowed(byte));
    if id.is_empty() {
        Err("is empty".to_owned())
    } else if id.len() > ID_CHARS {
        Err(format!("has {} bytes; at most {ID_CHARS}", id.len()))
    } else if !all_allowed(id) {
        Err("has a character other than A-Z, a-z, 0-9, \"_\" and \"-\"".to_owned())
    } else {
        Ok(())
    }
}

fn text(text: &str, most: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    // Counted only if needed: a text has at most as many characters as bytes.
    if text.len() > most {
        let chars = text.chars().count();
        if chars > most {
            return Err(format!("has {chars} characters; at most {most}"));
        }
    }
    Ok(())
}
