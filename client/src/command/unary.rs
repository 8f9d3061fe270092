//! `unary`: one request, one answer; here once per page.

use std::pin::pin;

use clap::Parser;
use futures::StreamExt as _;
use quartet::post::v1::{
    Bookmark, ListPostsByUserIdRequest, ListPostsByUserIdResponse, LogPosition,
};

use super::{Common, Console, Failure, Io, Talk, bounded, counted};
use crate::{
    connect, list_user_posts,
    output::{Clean, Event, Printer, go_on_after},
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
    #[arg(long, value_name = "N|LOG_ID:N", value_parser = position::parse)]
    pub after: Option<LogPosition>,
    #[command(flatten)]
    #[allow(missing_docs)]
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
    let mut reader = Reader { console: Console { printer, talk: Talk::new(io.err) }, posts: 0 };
    reader.console.printer.sent("call", format_args!("{RPC} user {}", Clean(&args.user_id)))?;

    let request = ListPostsByUserIdRequest { user_id: args.user_id, resume_after: args.after };
    let channel = connect(&args.common.endpoint).map_err(|error| args.common.failed(RPC, error))?;
    let pages = bounded(RPC, &args.common, io.interrupt, list_user_posts(channel, request));
    let mut pages = pin!(pages);
    while let Some(page) = pages.next().await {
        reader.show(page?)?;
        if reader.console.printer.is_closed() {
            break;
        }
    }
    Ok(())
}

struct Reader {
    console: Console,
    posts: u64,
}

impl Reader {
    fn show(&mut self, page: ListPostsByUserIdResponse) -> Result<(), Failure> {
        let Console { printer, talk } = &mut self.console;
        for post in &page.post_messages {
            printer.received(&Event::from(post))?;
        }
        let end = Bookmark { position: page.position, caught_up: !page.truncated };
        printer.received(&Event::from(&end))?;
        printer.flush()?;
        self.posts += page.post_messages.len() as u64;
        let position = end.position.unwrap_or_default();
        talk.say(format_args!("{}; {}", counted(self.posts, "post"), go_on_after(&position)));
        Ok(())
    }
}
