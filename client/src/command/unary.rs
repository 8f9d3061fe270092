//! `unary`: one request, one answer; here once per page.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use async_stream::stream;
use clap::Parser;
use futures::{Stream, StreamExt as _};
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsByUserIdResponse, LogPosition,
    post_service_client::PostServiceClient,
};
use tokio::time::sleep;

use super::{Common, Console, Failure, Io, Talk, bounded, either};
use crate::{
    Channel, Error, ServedBy, list_user_posts,
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
    /// Ask for the first page so many times, and show which server answered how often
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// With --count: wait so long between two calls
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true, requires = "count", value_parser = humantime::parse_duration)]
    pub interval: Duration,
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
  unary --user-id 1
  unary --user-id 1 --after 4 --json
  unary --user-id 1 --count 300 --endpoint ipv4:127.0.0.1:9001,127.0.0.1:9002

Next: server-streaming, where one request is answered by many messages.";

/// Runs the command.
///
/// # Errors
/// [`Failure`] says in one line what went wrong. What was printed before is right.
pub async fn run(args: Args, io: Io) -> Result<(), Failure> {
    if let Some(count) = args.count {
        return repeat(args, count, io).await;
    }
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

/// The same call again and again. One that fails does not stop the others: what is asked is who answers.
async fn repeat(args: Args, count: u64, io: Io) -> Result<(), Failure> {
    let mut printer = Printer::new(io.out, args.common.json, io.color);
    let user_id = Clean(&args.user_id);
    printer.sent("call", format_args!("{RPC} user {user_id}, {}", counted(count, "time")))?;
    printer.flush()?;
    let request = ListPostsByUserIdRequest { user_id: args.user_id, resume_after: args.after };
    let channel = args.common.connect(RPC)?;
    let (mut counts, mut failures) = (BTreeMap::new(), Failures::default());
    let answers = calls(channel, request, count, args.interval).map(Ok);
    let stop = either(io.interrupt, io.unread);
    let mut answers = pin!(bounded(RPC, &args.common, stop, answers));
    let mut ended = Ok(());
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(Ok(server)) => *counts.entry(server).or_default() += 1,
            Ok(Err(error)) => failures.add(error),
            Err(failure) => ended = Err(failure),
        }
    }
    printer.received(&Event::ServedBy { counts: &counts })?;
    printer.flush()?;
    ended.and(failures.verdict(count))
}

/// Which server answered, call by call.
fn calls(
    channel: Channel,
    request: ListPostsByUserIdRequest,
    count: u64,
    interval: Duration,
) -> impl Stream<Item = Result<String, Error>> + Send {
    stream! {
        // So that the shares are those of the policy, not of who answered first.
        channel.settle().await;
        let mut client = PostServiceClient::new(channel);
        for number in 0..count {
            if number > 0 && !interval.is_zero() {
                sleep(interval).await;
            }
            let answer = client.list_posts_by_user_id(request.clone()).await;
            yield answer.map_err(Error::from).map(|response| {
                response.extensions().get::<ServedBy>().map(|server| server.0.to_string()).unwrap_or_default()
            });
        }
    }
}

#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<Error>,
}

impl Failures {
    fn add(&mut self, error: Error) {
        self.count += 1;
        self.first.get_or_insert(error);
    }

    fn verdict(self, of: u64) -> Result<(), Failure> {
        match self.first {
            None => Ok(()),
            Some(first) => {
                let count = self.count;
                Err(Failure::Partial(format!(
                    "{count} of {of} calls failed, the first with: {first}"
                )))
            }
        }
    }
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
