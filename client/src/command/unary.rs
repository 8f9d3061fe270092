//! `unary`: one request, one response; here once per page.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use async_stream::stream;
use futures::{Stream, StreamExt as _};
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsByUserIdResponse, LogPosition,
    post_service_client::PostServiceClient,
};
use quartet_channel::{Channel, ServedBy};
use tokio::time::sleep;

use super::{console::Console, failure::Failure, flags::CommandLine, frame::Frame, io::Io};
use crate::{
    error::Error,
    output::{Clean, Event, counted},
    pages::list_user_posts,
    position,
};

const RPC: &str = "ListPostsByUserId";

/// Lists the posts of one user: the unary RPC.
///
/// A unary call is a function call: one request goes out, one response comes back. A user with many
/// posts gets them in pages, one call per page.
#[derive(Debug, Clone, clap::Args)]
#[command(display_name = "unary", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// Whose posts
    #[arg(long, value_name = "ID")]
    pub user_id: String,
    /// Only posts after this position
    #[arg(
        long,
        value_name = "N|LOG_ID:N[:CHAIN]",
        value_parser = position::parse,
        allow_negative_numbers = true
    )]
    pub after: Option<LogPosition>,
    /// Repeat the call for the first page N times, and count the responses of each server
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// With --count: the pause between two calls
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        hide_default_value = true,
        requires = "count",
        value_parser = humantime::parse_duration
    )]
    pub interval: Duration,
}

/// The command line of `unary`.
pub type Args = CommandLine<Flags>;

const AFTER_HELP: &str = "\
Examples:
  unary --user-id 1
  unary --user-id 1 --after 4 --json
  unary --user-id 1 --count 300 --endpoint ipv4:127.0.0.1:9001,127.0.0.1:9002

Next: server-streaming, where one request is answered by many messages.";

/// Runs the command.
///
/// # Errors
/// [`Failure`]. What was printed before it is correct.
pub async fn run(Args { own: flags, common }: Args, io: Io) -> Result<(), Failure> {
    let (frame, _) = Frame::reader(RPC, common, io);
    match flags.count {
        Some(count) => repeat(flags, count, frame).await,
        None => list(flags, frame).await,
    }
}

async fn list(flags: Flags, mut frame: Frame) -> Result<(), Failure> {
    let mut reader = PagesView { user_id: flags.user_id.clone(), posts: 0 };
    reader.show_call(&mut frame.console, flags.after.as_ref())?;
    let request = ListPostsByUserIdRequest { user_id: flags.user_id, resume_after: flags.after };
    let pages = list_user_posts(frame.connect()?, request);
    frame.show_events(pages, |console, page| reader.show_page(console, page)).await
}

/// What the user sees of the pages.
struct PagesView {
    user_id: String,
    posts: u64,
}

impl PagesView {
    fn show_call(&self, console: &mut Console, after: Option<&LogPosition>) -> Result<(), Failure> {
        let after = after.map(|after| format!(" after {}", after.sequence)).unwrap_or_default();
        let user_id = Clean(&self.user_id);
        Ok(console.show_call(format_args!("{RPC} user {user_id}{after}"))?)
    }

    fn show_page(
        &mut self,
        console: &mut Console,
        page: ListPostsByUserIdResponse,
    ) -> Result<ControlFlow<()>, Failure> {
        for post in &page.post_messages {
            console.printer.received(&Event::from(post))?;
        }
        console.printer.received(&Event::Page {
            position: (&page.position).into(),
            caught_up: !page.truncated,
            posts: page.post_messages.len(),
        })?;
        console.printer.flush()?;
        self.posts += page.post_messages.len() as u64;
        if page.truncated {
            self.show_call(console, page.position.as_ref())?;
        } else {
            console.say_total(self.posts, Some(&page.position.unwrap_or_default()));
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Makes the same call again and again. One that fails does not stop the others: the question is
/// which servers answer.
async fn repeat(flags: Flags, count: u64, mut frame: Frame) -> Result<(), Failure> {
    let (user_id, times) = (Clean(&flags.user_id), counted(count, "time"));
    frame.console.show_call(format_args!("{RPC} user {user_id}, {times}"))?;
    let request = ListPostsByUserIdRequest { user_id: flags.user_id, resume_after: flags.after };
    let responses = calls(frame.connect()?, request, count, flags.interval).map(Ok);
    let (mut counts, mut failures) = (BTreeMap::new(), Failures::default());
    let ended = frame
        .show_events(responses, |_, response| {
            match response {
                Ok(server) => *counts.entry(server).or_default() += 1,
                Err(error) => failures.add(error),
            }
            Ok(ControlFlow::Continue(()))
        })
        .await;
    frame.console.printer.received(&Event::ServedBy { counts: &counts })?;
    frame.console.printer.flush()?;
    ended.and(failures.verdict(count))
}

/// The server that answered each call.
fn calls(
    channel: Channel,
    request: ListPostsByUserIdRequest,
    count: u64,
    interval: Duration,
) -> impl Stream<Item = Result<String, Error>> + Send {
    stream! {
        // Without this, the first calls would all go to the server that connects first.
        channel.settle().await;
        let mut client = PostServiceClient::new(channel);
        for number in 0..count {
            if number > 0 && !interval.is_zero() {
                sleep(interval).await;
            }
            let response = client.list_posts_by_user_id(request.clone()).await;
            yield response.map_err(Error::from).map(|response| {
                let served_by = response.extensions().get::<ServedBy>();
                served_by.map(|server| server.0.to_string()).unwrap_or_default()
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

    fn verdict(self, calls: u64) -> Result<(), Failure> {
        let Some(first) = self.first else { return Ok(()) };
        let failed = self.count;
        Err(Failure::Partial(format!("{failed} of {calls} calls failed, the first with: {first}")))
    }
}
