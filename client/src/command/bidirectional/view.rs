//! What the user sees of a feed.

use std::collections::HashMap;

use quartet::post::v1::{LogPosition, PostBatch, Receipt};

use super::super::{console::Console, failure::Failure};
use crate::{
    feed::{FeedEvent, FeedRequest},
    output::{Event, Followed, Headline, Position, counted},
};

/// What the user sees of a feed.
pub(super) struct View {
    /// Whether the terminal has shown what was typed.
    input_is_shown: bool,
    /// Posts typed here, by id, until the feed has passed them.
    typed: HashMap<String, TypedPost>,
    /// Whether any tag is followed.
    follows: bool,
    posts: u64,
    /// Posts that the server has refused.
    pub(super) refused: u64,
    position: Option<LogPosition>,
}

/// A post that was typed here.
struct TypedPost {
    title: String,
    /// Set by the receipt; 0 if the post was refused.
    sequence: Option<i64>,
}

impl View {
    pub(super) fn new(input_is_shown: bool) -> Self {
        Self {
            input_is_shown,
            typed: HashMap::new(),
            follows: false,
            posts: 0,
            refused: 0,
            position: None,
        }
    }

    pub(super) fn show(&mut self, console: &mut Console, event: FeedEvent) -> Result<(), Failure> {
        match event {
            FeedEvent::Sent(request) => self.show_sent(console, request)?,
            FeedEvent::Joined(joined) => {
                console.printer.received(&Event::from(&joined))?;
                self.follows = true;
                self.position = joined.position;
            }
            FeedEvent::Left(left) => {
                console.printer.received(&Event::from(&left))?;
                self.follows = left.all_tags || !left.tags.is_empty();
                self.position = left.position;
            }
            FeedEvent::Posts(batch) => self.show_posts(console, batch)?,
            FeedEvent::Receipt(receipt) => self.show_receipt(console, &receipt)?,
            FeedEvent::Bookmark(bookmark) => {
                console.printer.received(&Event::from(&bookmark))?;
                self.position = bookmark.position;
            }
            FeedEvent::Disconnected(pause) => console.say_disconnected(&pause),
            FeedEvent::Reconnected(position) => {
                let position = position.as_ref().map(Position);
                console.printer.received(&Event::Reconnected { position })?;
            }
        }
        self.forget_passed(console.printer.is_json());
        Ok(())
    }

    fn show_sent(&mut self, console: &mut Console, request: FeedRequest) -> Result<(), Failure> {
        match request {
            FeedRequest::Join { tags, all_tags } => {
                console.printer.sent("join", Followed(&tags, all_tags))?;
            }
            FeedRequest::Leave { tags, all_tags } => {
                console.printer.sent("leave", Followed(&tags, all_tags))?;
            }
            FeedRequest::Publish(post) => {
                if !self.input_is_shown {
                    console.printer.sent("publish", Headline(&post.title, &post.tags))?;
                }
                let typed = TypedPost { title: post.title, sequence: None };
                self.typed.insert(post.post_id, typed);
            }
        }
        Ok(())
    }

    /// For people, a post that was typed here is shown by its receipt alone.
    fn show_posts(&mut self, console: &mut Console, batch: PostBatch) -> Result<(), Failure> {
        for post in &batch.post_messages {
            if console.printer.is_json() || !self.typed.contains_key(&post.post_id) {
                console.printer.received(&Event::from(post))?;
                self.posts += 1;
            }
        }
        self.position = batch.position;
        Ok(())
    }

    fn show_receipt(&mut self, console: &mut Console, receipt: &Receipt) -> Result<(), Failure> {
        let title = match self.typed.get_mut(&receipt.post_id) {
            Some(typed) => {
                typed.sequence = Some(receipt.sequence);
                typed.title.as_str()
            }
            None => "",
        };
        console.printer.received(&Event::receipt(receipt, title))?;
        self.refused += u64::from(receipt.status.is_some());
        Ok(())
    }

    /// Forgets the typed posts that will not come as posts any more: those with a receipt that the
    /// feed has passed, that were refused, or that no followed tag selects. With JSON, all posts
    /// are shown, so none has to be recognized.
    fn forget_passed(&mut self, is_json: bool) {
        let passed = self.position.as_ref().map_or(0, |position| position.sequence);
        let may_come = self.follows && !is_json;
        self.typed.retain(|_, post| post.sequence.is_none_or(|n| may_come && n > passed));
    }

    /// Says at the end how many posts came, and which publishes have no answer.
    pub(super) fn say_total(&self, console: &Console) {
        let unanswered = self.typed.values().filter(|post| post.sequence.is_none()).count() as u64;
        if unanswered > 0 {
            let posts = counted(unanswered, "post");
            console.stderr.say(format_args!("{posts} without a receipt may or may not be stored"));
        }
        console.say_total(self.posts, self.position.as_ref());
    }
}
