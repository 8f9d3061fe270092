//! Streams that a test received, converted for the order checker (`tests/check`).

use std::collections::BTreeMap;

use quartet::post::v1::{
    ListPostsRequest, ListPostsResponse, PostMessage, tag_feed_response::Payload,
};
use quartet_check::{
    Broken, History,
    history::{Event, Post, Run, What},
    record,
};

/// The users that `server` knows without a user file.
const USERS: [(&str, &str); 5] =
    [("1", "Henry"), ("2", "Michael"), ("3", "Jessie"), ("4", "Max"), ("5", "Tony")];

/// Everything that one stream sent.
#[derive(Debug, Clone)]
pub struct Received {
    opened: What,
    messages: Vec<What>,
}

impl Received {
    pub fn list(request: &ListPostsRequest, messages: &[ListPostsResponse]) -> Self {
        let messages = messages.iter().map(record::batch).collect();
        Self { opened: record::list(request), messages }
    }

    pub fn feed(events: &[Payload]) -> Self {
        let receipt = |event: &&Payload| matches!(event, Payload::Receipt(_));
        let messages = events.iter().filter(|event| !receipt(event)).map(record::feed_message);
        Self { opened: record::feed(None), messages: messages.collect() }
    }

    /// The positions that it sent.
    pub fn positions(&self) -> Vec<i64> {
        self.messages.iter().filter_map(What::position).map(|position| position.sequence).collect()
    }

    /// The last position that it sent: where to resume.
    pub fn position(&self) -> i64 {
        self.positions().last().copied().unwrap_or_default()
    }

    pub fn sequences(&self) -> Vec<i64> {
        let posts = self.messages.iter().filter_map(|message| match message {
            What::Posts { posts, .. } => Some(posts),
            _ => None,
        });
        posts.flatten().map(|post| post.sequence).collect()
    }
}

/// Checks the streams of one resumed reader against the log.
pub fn check(log: &[PostMessage], streams: &[Received]) -> Result<(), Vec<Broken>> {
    let mut history = written(log, |post| post.post_id.as_str());
    let position = streams.iter().flat_map(|stream| &stream.messages).find_map(What::position);
    history.run.log_id = position.map(|position| position.log_id.clone()).unwrap_or_default();
    for (call, stream) in (0..).zip(streams) {
        let events = std::iter::once(&stream.opened).chain(&stream.messages);
        history.events.extend(events.map(|what| event("reader", call, what.clone())));
    }
    verdict(&history)
}

/// Checks that each writer's newly stored posts are in the log in the order sent. Ids are
/// `{writer}-{number}`.
pub fn check_writers_order(log: &[PostMessage]) -> Result<(), Vec<Broken>> {
    let number = |post: &PostMessage| post.post_id.rsplit_once('-')?.1.parse::<u64>().ok();
    let mut sent = log.to_vec();
    sent.sort_by_key(number);
    let mut history = written(&sent, writer_of);
    history.log = log.iter().map(Post::from).collect();
    verdict(&history)
}

fn writer_of(post: &PostMessage) -> &str {
    post.post_id.rsplit_once('-').map_or("", |(writer, _)| writer)
}

/// A history in which each writer sends its posts in one call.
fn written<'a>(posts: &'a [PostMessage], writer: impl Fn(&'a PostMessage) -> &'a str) -> History {
    let mut calls: BTreeMap<&str, Vec<What>> = BTreeMap::new();
    for post in posts {
        let sent = Post { author: String::new(), sequence: 0, ..Post::from(post) };
        let call = calls.entry(writer(post)).or_insert_with(|| vec![record::upload()]);
        call.push(What::Sent { post: sent });
    }
    let users = USERS.map(|(id, name)| (id.to_owned(), name.to_owned())).into();
    let events = calls
        .into_iter()
        .flat_map(|(writer, events)| events.into_iter().map(move |what| event(writer, 0, what)));
    History {
        run: Run { users, ..Run::default() },
        events: events.collect(),
        log: posts.iter().map(Post::from).collect(),
    }
}

fn event(client: &str, call: u32, what: What) -> Event {
    Event { at: 0, client: client.to_owned(), call, what }
}

fn verdict(history: &History) -> Result<(), Vec<Broken>> {
    let broken = quartet_check::check(history);
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}
