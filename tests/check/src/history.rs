//! What is written down of a run. The order of the events is the order in which they happened, as
//! one clock saw them.
//!
//! Two rules make a history sound. What a client does is recorded before it does it
//! ([`What::Opened`], [`What::Sent`]); what it learns is recorded after it learned it. So if one
//! event stands before another that it could have caused, the server did them in that order too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A run: what was done, what happened, and what the log held in the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// What was done.
    pub run: Run,
    /// What happened, in its order.
    pub events: Vec<Event>,
    /// The posts of the log after the run, in its order.
    pub log: Vec<Post>,
}

/// What was done in a run, and what it must have done to count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What the run was made from.
    pub seed: u64,
    /// The log that it wrote.
    pub log_id: String,
    /// The names of the users, by their ids.
    pub users: BTreeMap<String, String>,
    /// What went wrong on purpose, by kind.
    pub faults: BTreeMap<String, FaultCount>,
    /// Microseconds until the last fault had ended. Readers are checked for being live from then
    /// on, if it is set.
    pub calm_from: Option<u64>,
    /// What must have happened at least.
    pub floor: Floor,
}

/// How many faults of a kind there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultCount {
    /// How many were planned.
    pub armed: u64,
    /// How many did happen.
    pub fired: u64,
}

/// The least that a run must have done for its result to mean something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Floor {
    /// Posts that were acknowledged.
    pub acknowledged: u64,
    /// Posts that readers got.
    pub delivered: u64,
    /// Positions without posts.
    pub bookmarks: u64,
    /// Calls that went on where another one of the same reader had ended.
    pub resumed: u64,
    /// Faults that happened.
    pub faults: u64,
}

/// Something that a client did or saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds from the start of the run.
    pub at: u64,
    /// Who. A reader that resumes keeps its name; one that starts again from nothing takes another.
    pub client: String,
    /// Which of its calls, counted from 0.
    pub call: u32,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What a client did or saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The client made a call.
    Opened(Opened),
    /// The client handed a post to the connection.
    Sent {
        /// What it sent.
        post: Post,
    },
    /// The client said that it sent so many posts and will send no more.
    Finished {
        /// Its count.
        post_count: u64,
    },
    /// A publish was answered.
    Receipt {
        /// Whose answer it is.
        post_id: String,
        /// What became of the post.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// An upload was answered.
    Uploaded(Uploaded),
    /// A feed follows something else, after this position: the answer to a join or a leave.
    Follows {
        /// All that it follows now.
        follows: Follows,
        /// In force after it.
        position: Position,
    },
    /// Posts came, or none: then it is a bookmark.
    Posts {
        /// In the order of the message.
        posts: Vec<Post>,
        /// The last sequence examined.
        position: Position,
        /// That was all when the call began: the end of a snapshot, or a page that is not
        /// truncated.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
    },
    /// A bookmark of a feed.
    Bookmark {
        /// How far it is.
        position: Position,
        /// Whether it reached the head that it had to catch up with.
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

/// A call, as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Which RPC.
    pub rpc: Rpc,
    /// Where it starts; none: at the oldest post, or with what comes, as `rpc` has it.
    pub after: Option<Position>,
    /// What it asks for. A feed asks later.
    #[serde(default)]
    pub follows: Follows,
    /// Whether it stays at the head.
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

/// What became of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was stored here.
    Created {
        /// Its place.
        sequence: i64,
    },
    /// It was there already.
    Duplicate {
        /// Its place.
        sequence: i64,
    },
    /// It will never be stored.
    Refused {
        /// Why: a gRPC code, such as `NOT_FOUND`.
        code: String,
    },
}

/// The answer to an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Posts stored.
    pub created: u64,
    /// Posts that were there already.
    pub duplicates: u64,
    /// Posts refused.
    pub refused: u64,
    /// The first of those: index and code.
    pub refusals: Vec<(u64, String)>,
    /// The largest sequence created or found again.
    pub position: Position,
    /// Whether the count of the finish was right.
    pub complete: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// A gRPC code; `LOST` if the connection went, `LEFT` if the client did.
    pub code: String,
    /// The reason of a status that has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Everything up to and including a sequence, of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which log; empty: any.
    pub log_id: String,
    /// 0: before the first post.
    pub sequence: i64,
}

/// A post, as far as order and identity go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Chosen by its writer.
    pub post_id: String,
    /// Its writer.
    pub user_id: String,
    /// Its tags, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Stands for its title and body.
    pub digest: String,
    /// Its writer's name; empty where it was sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Its place; 0 where it was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sequence: i64,
}

/// What a reader asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Follows {
    /// Every post, tagged or not.
    pub all_tags: bool,
    /// Posts with any of these.
    pub tags: BTreeSet<String>,
    /// And only those of these users, if there are any.
    pub user_ids: BTreeSet<String>,
}

impl Post {
    /// Whether two posts have the same id and content, wherever they stand.
    pub fn is_same(&self, other: &Post) -> bool {
        self.post_id == other.post_id && self.has_content_of(other)
    }

    /// Whether two posts have the same content.
    pub fn has_content_of(&self, other: &Post) -> bool {
        (&self.user_id, &self.tags, &self.digest) == (&other.user_id, &other.tags, &other.digest)
    }
}

impl Follows {
    /// Everything.
    pub fn all() -> Self {
        Self { all_tags: true, ..Self::default() }
    }

    /// Posts with any of these tags.
    pub fn tags<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self { tags: tags.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Whether a post is asked for.
    pub fn matches(&self, post: &Post) -> bool {
        let tagged = self.all_tags || post.tags.iter().any(|tag| self.tags.contains(tag));
        tagged && (self.user_ids.is_empty() || self.user_ids.contains(&post.user_id))
    }
}

impl What {
    /// The position that a message of the server carried.
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

/// A line of a saved history.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<R, E, P> {
    Run(R),
    Event(E),
    Post(P),
}

impl History {
    /// One JSON object a line: the run, its events, then the posts of the log.
    pub fn to_lines(&self) -> String {
        let run = std::iter::once(Line::Run(&self.run));
        let events = self.events.iter().map(Line::Event);
        let posts = self.log.iter().map(Line::Post);
        let json = |line: Line<&Run, &Event, &Post>| {
            serde_json::to_string(&line).expect("invariant: keys are strings") + "\n"
        };
        run.chain(events).chain(posts).map(json).collect()
    }

    /// Reads what [`to_lines`](History::to_lines) wrote.
    ///
    /// # Errors
    /// The first line that is none of a history, counted from 1.
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
