//! `server-streaming`: one request, many answers, resumed after a cut.

use std::{
    fmt::{self, Display},
    pin::pin,
};

use clap::Parser;
use futures::StreamExt as _;
use quartet::post::v1::{Bookmark, ListPostsRequest, ListPostsResponse, LogPosition};

use super::{Common, Console, Failure, Io, Talk, bounded, either};
use crate::{
    ListEvent, list_posts,
    output::{Clean, Event, Position, Printer, Tags, counted, go_on_after},
    position,
};

const RPC: &str = "ListPosts";

/// Streams posts in the order of the log: the server-streaming RPC.
///
/// One request goes out, and the server answers with as many messages as it
/// likes. With --follow it stays and sends new posts as they are stored. If the
/// connection is cut, the program asks again for what comes after the last post
/// it got.
#[derive(Debug, Clone, Parser)]
#[command(name = "server-streaming", version, verbatim_doc_comment, after_help = AFTER_HELP)]
pub struct Args {
    /// Posts with any of these tags (may be repeated) [default: all]
    #[arg(long = "tag", value_name = "T")]
    pub tags: Vec<String>,
    /// And by any of these users (may be repeated) [default: all]
    #[arg(long = "user-id", value_name = "ID")]
    pub user_ids: Vec<String>,
    /// Stay, and stream new posts as they are stored
    #[arg(long)]
    pub follow: bool,
    /// Only posts after this position
    #[arg(long, value_name = "N|LOG_ID:N", value_parser = position::parse, allow_negative_numbers = true)]
    pub after: Option<LogPosition>,
    /// Stop after so many posts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// What all four take.
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

const AFTER_HELP: &str = "\
Examples:
  server-streaming --tag streaming
  server-streaming --follow --after 4

Next: run it with --follow in one terminal, and client-streaming in another.";

/// Runs the command.
///
/// # Errors
/// [`Failure`] says in one line what went wrong. What was printed before is right.
pub async fn run(args: Args, io: Io) -> Result<(), Failure> {
    let printer = Printer::new(io.out, args.common.json, io.color);
    let console = Console { printer, talk: Talk::new(io.err) };
    let mut reader = Reader { console, posts: 0, limit: args.limit, position: None };
    reader.console.printer.sent("call", format_args!("{RPC} {}", Asked(&args)))?;
    reader.console.printer.flush()?;

    let Args { tags, user_ids, follow, after, common, .. } = args;
    let request = ListPostsRequest { tags, user_ids, follow, resume_after: after };
    let channel = common.connect(RPC)?;
    let stop = either(io.interrupt, io.unread);
    let mut events = pin!(bounded(RPC, &common, stop, list_posts(channel, request)));
    let mut ended = Ok(());
    while !reader.is_done() {
        match events.next().await {
            Some(event) => ended = event.and_then(|event| reader.show(event)),
            None => break,
        }
        if ended.is_err() {
            break;
        }
    }
    reader.say_where_to_go_on();
    ended
}

struct Reader {
    console: Console,
    posts: u64,
    limit: Option<u64>,
    /// Everything up to it was printed.
    position: Option<LogPosition>,
}

impl Reader {
    fn is_done(&self) -> bool {
        self.console.printer.is_closed() || self.limit.is_some_and(|limit| self.posts >= limit)
    }

    fn show(&mut self, event: ListEvent) -> Result<(), Failure> {
        match event {
            ListEvent::Batch(batch) => self.batch(batch)?,
            ListEvent::Disconnected(cut) => self.console.disconnected(&cut),
            ListEvent::Reconnected(position) => {
                let event = Event::Reconnected { position: Some(Position(&position)) };
                self.console.printer.received(&event)?;
            }
        }
        self.console.printer.flush()?;
        Ok(())
    }

    fn batch(&mut self, batch: ListPostsResponse) -> Result<(), Failure> {
        let end = batch.position.unwrap_or_default();
        for post in &batch.post_messages {
            self.console.printer.received(&Event::from(post))?;
            self.posts += 1;
            self.position = Some(LogPosition { sequence: post.sequence, ..end.clone() });
            if self.is_done() {
                return Ok(());
            }
        }
        if batch.snapshot_complete {
            self.console.printer.received(&Event::SnapshotComplete { position: Position(&end) })?;
        } else if batch.post_messages.is_empty() {
            let bookmark = Bookmark { position: Some(end.clone()), caught_up: false };
            self.console.printer.received(&Event::from(&bookmark))?;
        }
        self.position = Some(end);
        Ok(())
    }

    fn say_where_to_go_on(&self) {
        // Without a position the server has answered nothing, and there is nothing to go on from.
        if let Some(position) = &self.position {
            let posts = counted(self.posts, "post");
            self.console.talk.say(format_args!("{posts}; {}", go_on_after(position)));
        }
    }
}

/// The filter, in words.
struct Asked<'a>(&'a Args);

impl Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Args { tags, user_ids, follow, after, .. } = self.0;
        f.write_str(if tags.is_empty() { "all posts" } else { "posts tagged " })?;
        write!(f, "{}", Tags(tags))?;
        if let Some((first, others)) = user_ids.split_first() {
            write!(f, " by user {}", Clean(first))?;
            others.iter().try_for_each(|user_id| write!(f, ", {}", Clean(user_id)))?;
        }
        if let Some(after) = after {
            write!(f, " after {}", after.sequence)?;
        }
        f.write_str(if *follow { ", and new ones" } else { "" })
    }
}
