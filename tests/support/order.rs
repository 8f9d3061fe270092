//! The order checker: what a reader received, against the log as it was read afterwards.
//!
//! Every message of a stream carries a position, so the promises come down to one rule: a message holds exactly the
//! posts after the position before it, up to its own, that match the filter in force. [`check`] finds the first
//! message that breaks it and names the promise.
//!
//! Pure functions: no clock, no connection.

use std::collections::{BTreeMap, BTreeSet};

use quartet::post::v1::{
    ListPostsRequest, ListPostsResponse, PostMessage, tag_feed_response::Payload,
};

use super::calls::sequence;

/// What a reader follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Follows {
    pub all_tags: bool,
    pub tags: BTreeSet<String>,
    /// Empty: all.
    pub user_ids: BTreeSet<String>,
}

impl Follows {
    pub fn of_feed(tags: &[String], all_tags: bool) -> Self {
        Self { all_tags, tags: tags.iter().cloned().collect(), ..Self::default() }
    }

    pub fn of_list(request: &ListPostsRequest) -> Self {
        Self {
            all_tags: request.tags.is_empty(),
            tags: request.tags.iter().cloned().collect(),
            user_ids: request.user_ids.iter().cloned().collect(),
        }
    }

    pub fn matches(&self, post: &PostMessage) -> bool {
        let tags = self.all_tags || post.tags.iter().any(|tag| self.tags.contains(tag));
        tags && (self.user_ids.is_empty() || self.user_ids.contains(&post.user_id))
    }
}

/// What one stream sent, from its start on.
#[derive(Debug, Clone)]
pub struct Received {
    pub start: i64,
    pub follows: Follows,
    pub messages: Vec<Message>,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub posts: Vec<PostMessage>,
    pub position: i64,
    /// What is followed after it, if it changes that.
    pub follows: Option<Follows>,
}

impl Received {
    pub fn list(request: &ListPostsRequest, messages: &[ListPostsResponse]) -> Self {
        let messages = messages.iter().map(|message| Message {
            posts: message.post_messages.clone(),
            position: sequence(&message.position),
            follows: None,
        });
        Self {
            start: request.resume_after.as_ref().map_or(0, |position| position.sequence),
            follows: Follows::of_list(request),
            messages: messages.collect(),
        }
    }

    /// A feed starts at its first `Joined`; before it, it follows nothing.
    pub fn feed(events: &[Payload]) -> Self {
        let messages: Vec<_> = events
            .iter()
            .skip_while(|event| !matches!(event, Payload::Joined(_)))
            .filter_map(of_event)
            .collect();
        Self {
            start: messages.first().map_or(0, |joined| joined.position),
            follows: Follows::default(),
            messages,
        }
    }

    /// The last position sent: where to resume.
    pub fn position(&self) -> i64 {
        self.messages.last().map_or(self.start, |message| message.position)
    }

    pub fn sequences(&self) -> Vec<i64> {
        self.messages.iter().flat_map(|message| &message.posts).map(|post| post.sequence).collect()
    }
}

fn of_event(event: &Payload) -> Option<Message> {
    let (posts, position, follows) = match event {
        Payload::Joined(it) => {
            (vec![], &it.position, Some(Follows::of_feed(&it.tags, it.all_tags)))
        }
        Payload::Left(it) => (vec![], &it.position, Some(Follows::of_feed(&it.tags, it.all_tags))),
        Payload::Posts(it) => (it.post_messages.clone(), &it.position, None),
        Payload::Bookmark(it) => (vec![], &it.position, None),
        Payload::Receipt(_) => return None,
    };
    Some(Message { posts, position: sequence(position), follows })
}

/// A promise that was broken.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    pub promise: &'static str,
    pub why: String,
}

/// Checks the streams of one resumed reader against the log, which is 1, 2, 3 …
pub fn check(log: &[PostMessage], streams: &[Received]) -> Result<(), Broken> {
    let mut before: Option<i64> = None;
    for stream in streams {
        if before.is_some_and(|position| position != stream.start) {
            return broken("resumable", format!("{before:?} was resumed at {}", stream.start));
        }
        let mut position = stream.start;
        let mut follows = &stream.follows;
        for message in &stream.messages {
            check_message(log, follows, position, message)?;
            position = message.position;
            follows = message.follows.as_ref().unwrap_or(follows);
        }
        before = Some(position);
    }
    Ok(())
}

fn check_message(
    log: &[PostMessage],
    follows: &Follows,
    before: i64,
    message: &Message,
) -> Result<(), Broken> {
    let Message { posts, position, .. } = message;
    if let Some(post) = posts.iter().find(|post| post.sequence <= before) {
        return broken("unique", format!("{} came after position {before}", post.sequence));
    }
    if !posts.is_sorted_by(|one, next| one.sequence < next.sequence) {
        return broken("ordered", format!("a message after {before} is out of order"));
    }
    if *position < before || posts.last().is_some_and(|post| post.sequence > *position) {
        return broken("bookmarkable", format!("position {position} after {before}"));
    }
    if let Some(post) = posts.iter().find(|post| !follows.matches(post)) {
        return broken("filter", format!("{} does not match {follows:?}", post.sequence));
    }
    let Some(covered) = log.get(before as usize..*position as usize) else {
        return broken("durable", format!("position {position} of a log of {}", log.len()));
    };
    let sent: BTreeMap<i64, &PostMessage> =
        posts.iter().map(|post| (post.sequence, post)).collect();
    for post in covered.iter().filter(|post| follows.matches(post)) {
        match sent.get(&post.sequence) {
            None => return broken("reliable", format!("{} was left out", post.sequence)),
            Some(sent) if *sent != post => {
                return broken("durable", format!("{} differs from the log", post.sequence));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn broken(promise: &'static str, why: String) -> Result<(), Broken> {
    Err(Broken { promise, why })
}

/// What a writer newly stored stands in the log in the order sent. Ids are `{writer}-{number}`.
pub fn check_writers_order(log: &[PostMessage]) -> Result<(), Broken> {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for post in log {
        let Some((writer, number)) = post.post_id.rsplit_once('-') else { continue };
        let Ok(number) = number.parse() else { continue };
        if last.insert(writer, number).is_some_and(|before| before >= number) {
            return broken("writer's order", format!("{} overtook", post.post_id));
        }
    }
    Ok(())
}
