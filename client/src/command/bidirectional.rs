//! `bidirectional`: both sides send at any time, on one call.

use std::ops::ControlFlow;

use quartet::post::v1::LogPosition;

use self::{typist::Typist, view::View};
use super::{
    failure::Failure,
    flags::{CommandLine, CommonFlags},
    frame::Frame,
    io::Io,
};
use crate::{
    feed::{FeedStart, tag_feed},
    lines::read_in_background,
    output::counted,
    position,
};

mod typist;
mod view;

const RPC: &str = "TagFeed";

/// Joins tags, publishes what you type and shows what others publish: the bidirectional RPC.
///
/// Requests go out and messages come in on one call, each at any time. A line that you type is the
/// title of a post with the tags that you joined. The end of the input (Ctrl-D) closes your side:
/// the server sends the answers that are due, then the call ends. If the connection is cut, the
/// program joins the tags again and repeats what has no receipt.
#[derive(Debug, Clone, clap::Args)]
#[command(display_name = "bidirectional", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// Join this tag (may be repeated)
    #[arg(long = "tag", value_name = "T", value_parser = typist::tag)]
    pub tags: Vec<String>,
    /// Follow every post, tagged or not
    #[arg(long)]
    pub all_tags: bool,
    /// Start after this position [default: with the next post that is stored]
    #[arg(
        long,
        value_name = "N|LOG_ID:N[:CHAIN]",
        value_parser = position::parse,
        allow_negative_numbers = true
    )]
    pub after: Option<LogPosition>,
    /// Start with the first post
    #[arg(long, conflicts_with = "after")]
    pub from_oldest: bool,
    /// The author of your posts [default: 1; with a token or a certificate, the user that it names]
    #[arg(long, value_name = "ID")]
    pub user_id: Option<String>,
}

/// The command line of `bidirectional`.
pub type Args = CommandLine<Flags>;

const AFTER_HELP: &str = "\
Examples:
  bidirectional --tag streaming
  echo 'Hello' | bidirectional --tag streaming --from-oldest --json

Type /help while it runs.

Next: join the same tag in two terminals, type in both, then stop the server and start it again.";

/// Bytes of a typed line: more than the longest title that the server accepts.
const LINE_BYTES: usize = 64 * 1024;

/// Runs the command.
///
/// # Errors
/// [`Failure`]. A post that has a receipt is stored.
pub async fn run(Args { own: flags, common }: Args, io: Io) -> Result<(), Failure> {
    let (mut frame, input) = Frame::reader(RPC, common, io);
    frame.console.show_call(RPC)?;
    let lines = read_in_background(input.bytes, LINE_BYTES)
        .map_err(|error| Failure::Input("stdin".into(), error))?;

    let start = flags.start();
    let typist = Typist {
        user_id: flags.user_id.unwrap_or_else(|| default_user_id(&frame.flags)),
        tags: flags.tags.into_iter().collect(),
        all_tags: flags.all_tags,
        stderr: frame.console.stderr.clone(),
    };
    let mut view = View::new(input.is_terminal && !frame.flags.json);
    let events = tag_feed(frame.connect()?, start, typist.requests(lines));
    let ended = frame
        .show_events(events, |console, event| {
            view.show(console, event)?;
            Ok(ControlFlow::Continue(()))
        })
        .await;
    view.say_total(&frame.console);
    match view.refused {
        0 => ended,
        posts => ended.and(Err(Failure::Partial(format!("{} refused", counted(posts, "post"))))),
    }
}

impl Flags {
    fn start(&self) -> FeedStart {
        match (self.from_oldest, &self.after) {
            (true, _) => FeedStart::Oldest,
            (false, Some(position)) => FeedStart::After(position.clone()),
            (false, None) => FeedStart::Now,
        }
    }
}

/// Empty if the server knows its caller: it then fills in the author.
fn default_user_id(flags: &CommonFlags) -> String {
    if flags.has_credentials() { String::new() } else { "1".to_owned() }
}
