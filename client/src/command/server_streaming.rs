//! `server-streaming`: one request, many responses, resumed after a cut.

use std::{
    fmt::{self, Display},
    ops::ControlFlow,
};

use quartet::post::v1::{Bookmark, ListPostsRequest, ListPostsResponse, LogPosition};

use super::{
    console::Console,
    failure::Failure,
    flags::{AfterFlag, CommandLine, at_least_one},
    frame::Frame,
    io::Io,
    tag,
};
use crate::{
    list::{ListEvent, list_posts},
    output::{Clean, Event, Position, Tags},
};

const RPC: &str = "ListPosts";

/// Streams posts in the order of the log: the server-streaming RPC.
///
/// One request goes out, and the server answers with any number of messages. With --follow the
/// stream stays open and brings new posts as they are stored. If the connection is cut, the program
/// asks again for the posts after the last one that it received.
#[derive(Debug, Clone, clap::Args)]
#[command(display_name = "server-streaming", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// Posts with any of these tags (may be repeated) [default: all]
    #[arg(long = "tag", value_name = "T")]
    pub tags: Vec<String>,
    /// And by any of these users (may be repeated) [default: all]
    #[arg(long = "user-id", value_name = "ID")]
    pub user_ids: Vec<String>,
    /// Stay, and stream new posts as they are stored
    #[arg(long)]
    pub follow: bool,
    /// The position to start after.
    #[command(flatten)]
    pub start: AfterFlag,
    /// Stop after N posts
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub limit: Option<u64>,
}

/// The command line of `server-streaming`.
pub type Args = CommandLine<Flags>;

const AFTER_HELP: &str = "\
Examples:
  server-streaming --tag streaming
  server-streaming --follow --after 4

Next: run it with --follow in one terminal, and client-streaming in another.";

/// Runs the command.
///
/// # Errors
/// [`Failure`]. What was printed before it is correct.
pub async fn run(Args { own: mut flags, common }: Args, io: Io) -> Result<(), Failure> {
    let (mut frame, _) = Frame::reader(RPC, common, io);
    let tags = flags.tags.into_iter();
    flags.tags = tags.map(|text| tag::without_hash(text, &frame.console.stderr)).collect();
    frame.console.show_call(format_args!("{RPC} {}", InWords(&flags)))?;
    let mut reader = ListView { posts: 0, limit: flags.limit, position: None };
    let Flags { tags, user_ids, follow, start, .. } = flags;
    let request = ListPostsRequest { tags, user_ids, follow, resume_after: start.after };
    let events = list_posts(frame.connect()?, request);
    let ended = frame.show_events(events, |console, event| reader.show(console, event)).await;
    frame.console.say_total(reader.posts, reader.position.as_ref());
    ended
}

/// What the user sees of the list.
struct ListView {
    posts: u64,
    limit: Option<u64>,
    /// Everything up to this position was printed.
    position: Option<LogPosition>,
}

impl ListView {
    fn show(
        &mut self,
        console: &mut Console,
        event: ListEvent,
    ) -> Result<ControlFlow<()>, Failure> {
        match event {
            ListEvent::Batch(batch) => return self.show_batch(console, batch),
            ListEvent::Disconnected(pause) => console.say_disconnected(&pause),
            ListEvent::Reconnected(position) => {
                let event = Event::Reconnected { position: Some(Position(&position)) };
                console.printer.received(&event)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn show_batch(
        &mut self,
        console: &mut Console,
        batch: ListPostsResponse,
    ) -> Result<ControlFlow<()>, Failure> {
        let end = batch.position.unwrap_or_default();
        for post in &batch.post_messages {
            console.printer.received(&Event::from(post))?;
            if console.printer.is_closed() {
                return Ok(ControlFlow::Break(()));
            }
            self.posts += 1;
            let mut position = LogPosition { sequence: post.sequence, ..end.clone() };
            if position.sequence != end.sequence {
                position.chain = 0; // the server tells it only for the end of a batch
            }
            self.position = Some(position);
            let has_all = self.limit.is_some_and(|limit| self.posts >= limit);
            if has_all {
                return Ok(ControlFlow::Break(()));
            }
        }
        if batch.snapshot_complete {
            console.printer.received(&Event::SnapshotComplete { position: Position(&end) })?;
        } else if batch.post_messages.is_empty() {
            let bookmark = Bookmark { position: Some(end.clone()), caught_up: false };
            console.printer.received(&Event::from(&bookmark))?;
        }
        self.position = Some(end);
        Ok(ControlFlow::Continue(()))
    }
}

/// The request in words.
struct InWords<'a>(&'a Flags);

impl Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flags { tags, user_ids, follow, start, .. } = self.0;
        f.write_str(if tags.is_empty() { "all posts" } else { "posts tagged " })?;
        write!(f, "{}", Tags(tags))?;
        if let Some((first, others)) = user_ids.split_first() {
            write!(f, " by user {}", Clean(first))?;
            others.iter().try_for_each(|user_id| write!(f, ", {}", Clean(user_id)))?;
        }
        if let Some(after) = &start.after {
            write!(f, " after {}", after.sequence)?;
        }
        f.write_str(if *follow { ", and new ones" } else { "" })
    }
}
