//! The record of a run. Events are in the order in which they happened, by one clock.
//!
//! Two rules make a history sound. A client's actions are recorded before they happen
//! ([`What::Opened`], [`What::Sent`]); its observations are recorded after. So if one event
//! precedes another that it could have caused, the server processed them in that order too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A run: its parameters, its events, and the final content of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The parameters of the run.
    pub run: Run,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The posts of the log after the run, in order.
    pub log: Vec<Post>,
}

/// The parameters of a run, and the minimum that must have happened for it to count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The seed of everything random.
    pub seed: u64,
    /// The id of its log.
    pub log_id: String,
    /// The names of the users, by their ids.
    pub users: BTreeMap<String, String>,
    /// The injected faults, by kind.
    pub faults: BTreeMap<String, FaultCount>,
    /// Microseconds until the last fault ended, if there is such a time. Readers must be live after
    /// it.
    pub calm_from: Option<u64>,
    /// The minimum that must have happened.
    pub floor: Floor,
}

/// The number of faults of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultCount {
    /// How many were planned.
    pub armed: u64,
    /// How many happened.
    pub fired: u64,
}

/// The minimum that must have happened for the result of a run to mean something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Floor {
    /// Posts acknowledged.
    pub acknowledged: u64,
    /// Posts delivered to readers.
    pub delivered: u64,
    /// Bookmarks: positions without posts.
    pub bookmarks: u64,
    /// Calls that continued where an earlier call of the same reader ended.
    pub resumed: u64,
    /// Faults that happened.
    pub faults: u64,
}

/// An action or observation of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds from the start of the run.
    pub at: u64,
    /// The client. A reader that resumes keeps its name; a reader that starts over takes a new one.
    pub client: String,
    /// Which of the client's calls, counted from 0.
    pub call: u32,
    /// The action or observation.
    #[serde(flatten)]
    pub what: What,
}

/// An action or observation of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The client opened a call.
    Opened(Opened),
    /// The client handed a post to the connection.
    Sent {
        /// The post.
        post: Post,
    },
    /// The client sent a finish with its count, and nothing after it.
    Finished {
        /// The count.
        post_count: u64,
    },
    /// A receipt: the answer to a publish.
    Receipt {
        /// The id of the published post.
        post_id: String,
        /// The outcome of the publish.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// The answer to an upload.
    Uploaded(Uploaded),
    /// The filter of a feed changes after this position: the answer to a join or a leave.
    Follows {
        /// The new filter, as a whole.
        follows: Follows,
        /// The filter is in force after this position.
        position: Position,
    },
    /// A message with posts, or with none: then it is a bookmark.
    Posts {
        /// In the order of the message.
        posts: Vec<Post>,
        /// The last sequence examined.
        position: Position,
        /// The snapshot is complete, or the page is not truncated.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
    },
    /// A bookmark of a feed.
    Bookmark {
        /// Its position.
        position: Position,
        /// Whether the feed has caught up with the head that it had to reach.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        caught_up: bool,
    },
    /// The client stopped reading.
    Paused,
    /// The client reads again.
    Unpaused,
    /// The call ended.
    Ended(Ended),
}

/// A call with its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its RPC.
    pub rpc: Rpc,
    /// The start position; if `None`, the start depends on `rpc`: the oldest post, or the next one.
    pub after: Option<Position>,
    /// The filter of the request. A feed sends its filters later.
    #[serde(default)]
    pub follows: Follows,
    /// Whether the call follows new posts at the head.
    #[serde(default)]
    pub stays: bool,
}

/// The RPCs of the Post service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rpc {
    /// `ListPostsByUserId`.
    Page,
    /// `ListPosts`.
    List,
    /// `UploadPosts`.
    Upload,
    /// `TagFeed`.
    Feed,
}

/// The outcome of sending a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The post was stored.
    Created {
        /// Its sequence.
        sequence: i64,
    },
    /// The post had been stored before.
    Duplicate {
        /// Its sequence.
        sequence: i64,
    },
    /// The post was refused for good.
    Refused {
        /// A gRPC code, such as `NOT_FOUND`.
        code: String,
    },
}

/// The answer to an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Posts stored.
    pub created: u64,
    /// Posts stored before.
    pub duplicates: u64,
    /// Posts refused.
    pub refused: u64,
    /// The first refused posts: index and code.
    pub refusals: Vec<(u64, String)>,
    /// The largest sequence created or found again.
    pub position: Position,
    /// Whether the count of the finish was right.
    pub complete: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// A gRPC code; `LOST` if the connection broke, `LEFT` if the client gave up the call.
    pub code: String,
    /// The reason of the status, if it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A position: everything up to and including a sequence of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The id of the log; empty: any log.
    pub log_id: String,
    /// 0: before the first post.
    pub sequence: i64,
    /// The chain value of the log there; 0: not compared.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub chain: u64,
}

/// A post, reduced to its order and identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Chosen by its writer.
    pub post_id: String,
    /// The user id of its writer.
    pub user_id: String,
    /// Its tags, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A digest of its title and body.
    pub digest: String,
    /// The name of its writer; empty in a post that was sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Its sequence; 0 in a post that was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sequence: i64,
    /// The chain value of the log at this post; 0 in a post that is not read from a log.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub chain: u64,
}

/// The filter of a reader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Follows {
    /// Every post, tagged or not.
    pub all_tags: bool,
    /// Posts with any of these tags.
    pub tags: BTreeSet<String>,
    /// Only posts of these users; empty: of all users.
    pub user_ids: BTreeSet<String>,
}

impl Post {
    /// Whether two posts have the same id and content, at any sequence.
    pub fn is_same(&self, other: &Post) -> bool {
        self.post_id == other.post_id && self.has_content_of(other)
    }

    /// Whether two posts have the same content.
    pub fn has_content_of(&self, other: &Post) -> bool {
        (&self.user_id, &self.tags, &self.digest) == (&other.user_id, &other.tags, &other.digest)
    }
}

impl Follows {
    /// A filter that matches everything.
    pub fn all() -> Self {
        Self { all_tags: true, ..Self::default() }
    }

    /// A filter for posts with any of these tags.
    pub fn tags<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self { tags: tags.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Whether a post matches.
    pub fn matches(&self, post: &Post) -> bool {
        let tagged = self.all_tags || post.tags.iter().any(|tag| self.tags.contains(tag));
        tagged && (self.user_ids.is_empty() || self.user_ids.contains(&post.user_id))
    }
}

impl What {
    /// The position in a message of the server.
    pub fn position(&self) -> Option<&Position> {
        match self {
            What::Follows { position, .. }
            | What::Posts { position, .. }
            | What::Bookmark { position, .. } => Some(position),
            _ => None,
        }
    }
}

fn is_zero(sequence: &i64) -> bool {
    *sequence == 0
}

fn is_unset(chain: &u64) -> bool {
    *chain == 0
}

/// A line of a saved history.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<R, E, P> {
    Run(R),
    Event(E),
    Post(P),
}

impl History {
    /// One JSON object per line: the run, its events, then the posts of the log.
    pub fn to_lines(&self) -> String {
        let run = std::iter::once(Line::Run(&self.run));
        let events = self.events.iter().map(Line::Event);
        let posts = self.log.iter().map(Line::Post);
        let json = |line: Line<&Run, &Event, &Post>| {
            serde_json::to_string(&line).expect("invariant: keys are strings") + "\n"
        };
        run.chain(events).chain(posts).map(json).collect()
    }

    /// Parses the output of [`to_lines`](History::to_lines).
    ///
    /// # Errors
    /// The first line that is not part of a history, counted from 1.
    pub fn from_lines(lines: &str) -> Result<Self, String> {
        let mut history = History::default();
        for (index, line) in lines.lines().enumerate() {
            let line = serde_json::from_str(line);
            match line.map_err(|error| format!("line {}: {error}", index + 1))? {
                Line::Run(run) => history.run = run,
                Line::Event(event) => history.events.push(event),
                Line::Post(post) => history.log.push(post),
            }
        }
        Ok(history)
    }
}
