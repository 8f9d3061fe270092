//! `unary`: one request, one answer; here once per page.

use std::pin::pin;

use clap::Parser;
use futures::StreamExt as _;
use quartet::post::v1::{ListPostsByUserIdRequest, ListPostsByUserIdResponse, LogPosition};

use super::{Common, Console, Failure, Io, Talk, bounded, either};
use crate::{
    list_user_posts,
    output::{Clean, Event, Printer, counted, go_on_after},
    position,
};

const RPC: &str = "ListPostsByUserId";

/// Lists the posts of one user: the unary RPC.
///
/// A unary call is a function call: one request goes out, one answer comes
/// back. A user with many posts gets them in pages, one call per page.
#[derive(Debug, Clone, Parser)]
#[command(name = "unary", version, verbatim_doc_comment, after_help = AFTER_HELP)]
pub struct Args {
    /// Whose posts
    #[arg(long, value_name = "ID")]
    pub user_id: String,
    /// Only posts after this position
    #[arg(long, value_name = "N|LOG_ID:N", value_parser = position::parse, allow_negative_numbers = true)]
    pub after: Option<LogPosition>,
    /// What all four take.
    #[command(flatten)]
    pub common: Common,
}

const AFTER_HELP: &str = "\
Examples:
  unary --user-id 1
  unary --user-id 1 --after 4 --json

Next: server-streaming, where one request is answered by many messages.";

/// Runs the command.
///
/// # Errors
/// [`Failure`] says in one line what went wrong. What was printed before is right.
pub async fn run(args: Args, io: Io) -> Result<(), Failure> {
    let printer = Printer::new(io.out, args.common.json, io.color);
    let console = Console { printer, talk: Talk::new(io.err) };
    let mut reader = Reader { console, user_id: args.user_id.clone(), posts: 0 };
    reader.show_call(args.after.as_ref())?;

    let request = ListPostsByUserIdRequest { user_id: args.user_id, resume_after: args.after };
    let channel = args.common.connect(RPC)?;
    let stop = either(io.interrupt, io.unread);
    let pages = bounded(RPC, &args.common, stop, list_user_posts(channel, request));
    let mut pages = pin!(pages);
    while let Some(page) = pages.next().await {
        reader.show_page(page?)?;
        if reader.console.printer.is_closed() {
            break;
        }
    }
    Ok(())
}

struct Reader {
    console: Console,
    user_id: String,
    posts: u64,
}

impl Reader {
    fn show_call(&mut self, after: Option<&LogPosition>) -> Result<(), Failure> {
        let after = after.map(|after| format!(" after {}", after.sequence)).unwrap_or_default();
        let user_id = Clean(&self.user_id);
        self.console.printer.sent("call", format_args!("{RPC} user {user_id}{after}"))?;
        self.console.printer.flush()?;
        Ok(())
    }

    fn show_page(&mut self, page: ListPostsByUserIdResponse) -> Result<(), Failure> {
        let printer = &mut self.console.printer;
        for post in &page.post_messages {
            printer.received(&Event::from(post))?;
        }
        printer.received(&Event::Page {
            position: (&page.position).into(),
            caught_up: !page.truncated,
            posts: page.post_messages.len(),
        })?;
        printer.flush()?;
        self.posts += page.post_messages.len() as u64;
        if page.truncated {
            return self.show_call(page.position.as_ref());
        }
        let (posts, position) = (counted(self.posts, "post"), page.position.unwrap_or_default());
        self.console.talk.say(format_args!("{posts}; {}", go_on_after(&position)));
        Ok(())
    }
}
