//! Turns typed lines into requests to a feed.

use std::{collections::BTreeSet, io};

use async_stream::stream;
use futures::Stream;
use quartet::{limits, post::v1::PostMessage};
use tokio::sync::mpsc;

use super::super::{console::Stderr, tag};
use crate::{feed::FeedRequest, lines::Line};

const HELP: &str = "\
a line         publish it with the tags joined (the first 16)
/join T        follow a tag too; T is the rest of the line
/leave T       follow it no longer
/quit          end, as the end of input does: with everything that is still owed";

/// Turns typed lines into requests.
pub(super) struct Typist {
    /// The author of typed posts; empty if the server fills it in.
    pub(super) user_id: String,
    /// The tags followed once all requests so far are in force.
    pub(super) tags: BTreeSet<String>,
    pub(super) all_tags: bool,
    pub(super) stderr: Stderr,
}

/// What a line means.
enum Typed {
    Request(FeedRequest),
    /// Nothing, or something that was answered on stderr.
    Nothing,
    Quit,
}

impl Typist {
    /// A join of the tags that the command line names, then a request for each line that is one.
    pub(super) fn requests(
        mut self,
        mut lines: mpsc::Receiver<io::Result<Line>>,
    ) -> impl Stream<Item = FeedRequest> + Send {
        stream! {
            if self.all_tags || !self.tags.is_empty() {
                let tags = self.tags.iter().cloned().collect();
                yield FeedRequest::Join { tags, all_tags: self.all_tags };
            } else {
                self.hint("nothing is joined yet; type /join T to follow a tag");
            }
            while let Some(line) = lines.recv().await {
                match self.understand(line) {
                    Typed::Request(request) => yield request,
                    Typed::Nothing => {}
                    Typed::Quit => return,
                }
            }
        }
    }

    fn understand(&mut self, line: io::Result<Line>) -> Typed {
        let text = match line {
            Ok(Line::Whole(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Ok(Line::TooLong) => return self.hint("that line is too long"),
            Err(error) => {
                self.stderr.say(format_args!("cannot read stdin: {error}"));
                return Typed::Quit;
            }
        };
        match text.split_once(char::is_whitespace).unwrap_or((&text, "")) {
            ("", _) => Typed::Nothing,
            ("/join", tag) => self.join(tag.trim()),
            ("/leave", tag) => self.leave(tag.trim()),
            ("/quit", "") => Typed::Quit,
            ("/help", "") => self.hint(HELP),
            (command, _) if command.starts_with('/') => self.hint("no such command; try /help"),
            _ => Typed::Request(FeedRequest::Publish(self.post(text))),
        }
    }

    fn join(&mut self, text: &str) -> Typed {
        match self.tag(text) {
            Ok(tag) => {
                self.tags.insert(tag.clone());
                Typed::Request(FeedRequest::Join { tags: vec![tag], all_tags: false })
            }
            Err(problem) => self.hint(&problem),
        }
    }

    fn leave(&mut self, text: &str) -> Typed {
        match self.tag(text) {
            Ok(_) if self.all_tags => self.hint("you follow all tags, so you cannot leave one"),
            Ok(tag) => {
                self.tags.remove(&tag);
                Typed::Request(FeedRequest::Leave { tags: vec![tag], all_tags: false })
            }
            Err(problem) => self.hint(&problem),
        }
    }

    fn tag(&self, text: &str) -> Result<String, String> {
        tag::check(text).map(|text| tag::without_hash(text, &self.stderr))
    }

    /// A post with a random id, which it keeps until its receipt has come.
    fn post(&self, title: String) -> PostMessage {
        PostMessage {
            post_id: format!("{:032x}", rand::random::<u128>()),
            user_id: self.user_id.clone(),
            title,
            tags: self.tags.iter().take(limits::TAGS_PER_POST).cloned().collect(),
            ..Default::default()
        }
    }

    fn hint(&self, text: &str) -> Typed {
        text.lines().for_each(|line| self.stderr.say(line));
        Typed::Nothing
    }
}
