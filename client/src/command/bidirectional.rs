//! `bidirectional`: both sides send when they like, on one call.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    pin::pin,
};

use async_stream::stream;
use clap::Parser;
use futures::{Stream, StreamExt as _};
use quartet::{
    limits,
    post::v1::{LogPosition, PostBatch, PostMessage, Receipt},
};
use tokio::sync::mpsc;

use super::{Common, Console, Failure, Io, Talk, bounded, either};
use crate::{
    FeedEvent, FeedRequest, FeedStart,
    lines::{Line, read_in_background},
    output::{Event, Followed, Headline, Position, Printer, counted, go_on_after},
    position, tag_feed,
};

const RPC: &str = "TagFeed";

/// Joins tags, publishes what you type and shows what others publish: the bidirectional RPC.
///
/// Requests go out and answers come back on one call, each side when it likes.
/// A line that you type is the title of a post with the tags that you joined.
/// End of input (Ctrl-D) closes your side: the server sends what is still owed,
/// then the call ends. If the connection is cut, the program rejoins and sends
/// again what has no receipt.
#[derive(Debug, Clone, Parser)]
#[command(name = "bidirectional", version, verbatim_doc_comment, after_help = AFTER_HELP)]
pub struct Args {
    /// Join this tag (may be repeated)
    #[arg(long = "tag", value_name = "T", value_parser = tag)]
    pub tags: Vec<String>,
    /// Follow every post, tagged or not
    #[arg(long)]
    pub all_tags: bool,
    /// Start after this position [default: with what is posted from now on]
    #[arg(long, value_name = "N|LOG_ID:N", value_parser = position::parse, allow_negative_numbers = true)]
    pub after: Option<LogPosition>,
    /// Start with the first post
    #[arg(long, conflicts_with = "after")]
    pub from_oldest: bool,
    /// Who you are [default: 1; with a token or a certificate, whom it names]
    #[arg(long, value_name = "ID")]
    pub user_id: Option<String>,
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
  bidirectional --tag streaming
  echo 'Hello' | bidirectional --tag streaming --from-oldest --json

Type /help while it runs.

Next: join the same tag in two terminals, type in both, then stop the server and start it again.";

const TYPING_HELP: &str = "\
a line         publish it with the tags joined (the first 16)
/join T        follow a tag too; T is the rest of the line
/leave T       follow it no longer
/quit          end, as the end of input does: with everything that is still owed";

/// Bytes of a typed line: more than the longest title that the server accepts.
const LINE_BYTES: usize = 64 * 1024;

/// Runs the command.
///
/// # Errors
/// [`Failure`] says in one line what went wrong. What has a receipt is stored.
pub async fn run(args: Args, io: Io) -> Result<(), Failure> {
    let talk = Talk::new(io.err);
    let printer = Printer::new(io.out, args.common.json, io.color);
    let console = Console { printer, talk: talk.clone() };
    let mut view = View::new(console, io.echo && !args.common.json);
    view.console.printer.sent("call", RPC)?;
    view.console.printer.flush()?;

    let lines = read_in_background(io.input, LINE_BYTES)
        .map_err(|error| Failure::Input("stdin".into(), error))?;
    let start = match (args.from_oldest, &args.after) {
        (true, _) => FeedStart::Oldest,
        (false, Some(position)) => FeedStart::After(position.clone()),
        (false, None) => FeedStart::Now,
    };
    // A server that knows its callers fills in who they are.
    let nobody = if args.common.says_who_calls() { "" } else { "1" };
    let typist = Typist {
        user_id: args.user_id.unwrap_or_else(|| nobody.to_owned()),
        tags: args.tags.into_iter().collect(),
        all_tags: args.all_tags,
        talk,
    };
    let channel = args.common.connect(RPC)?;
    let events = tag_feed(channel, start, typist.requests(lines));
    let stop = either(io.interrupt, io.unread);
    let mut events = pin!(bounded(RPC, &args.common, stop, events));
    let mut ended = Ok(());
    while let Some(event) = events.next().await {
        ended = event.and_then(|event| view.show(event));
        if ended.is_err() || view.console.printer.is_closed() {
            break;
        }
    }
    view.say_where_to_go_on();
    match view.refused {
        0 => ended,
        posts => ended.and(Err(Failure::Partial(format!("{} refused", counted(posts, "post"))))),
    }
}

fn tag(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=limits::TAG_CHARS => Ok(text.into()),
        _ => Err(format!("a tag has 1 to {} characters", limits::TAG_CHARS)),
    }
}

/// Turns what is typed into requests.
struct Typist {
    user_id: String,
    /// As they will be when all requests so far are in force.
    tags: BTreeSet<String>,
    all_tags: bool,
    talk: Talk,
}

enum Typed {
    Request(FeedRequest),
    Nothing,
    Quit,
}

impl Typist {
    fn requests(
        mut self,
        mut lines: mpsc::Receiver<io::Result<Line>>,
    ) -> impl Stream<Item = FeedRequest> + Send {
        stream! {
            if self.all_tags || !self.tags.is_empty() {
                let tags = self.tags.iter().cloned().collect();
                yield FeedRequest::Join { tags, all_tags: self.all_tags };
            } else {
                self.hint("nothing is joined yet; type /join T to follow a tag");
            }
            while let Some(line) = lines.recv().await {
                match self.understand(line) {
                    Typed::Request(request) => yield request,
                    Typed::Nothing => {}
                    Typed::Quit => return,
                }
            }
        }
    }

    fn understand(&mut self, line: io::Result<Line>) -> Typed {
        let text = match line {
            Ok(Line::Whole(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
            Ok(Line::TooLong) => return self.hint("that line is too long"),
            Err(error) => {
                self.talk.say(format_args!("cannot read stdin: {error}"));
                return Typed::Quit;
            }
        };
        match text.split_once(char::is_whitespace).unwrap_or((&text, "")) {
            ("", _) => Typed::Nothing,
            ("/join", tag) => self.join(tag.trim()),
            ("/leave", tag) => self.leave(tag.trim()),
            ("/quit", "") => Typed::Quit,
            ("/help", "") => self.hint(TYPING_HELP),
            (command, _) if command.starts_with('/') => self.hint("no such command; try /help"),
            _ => Typed::Request(FeedRequest::Publish(self.post(text))),
        }
    }

    fn join(&mut self, text: &str) -> Typed {
        match tag(text) {
            Ok(tag) => {
                self.tags.insert(tag.clone());
                Typed::Request(FeedRequest::Join { tags: vec![tag], all_tags: false })
            }
            Err(problem) => self.hint(&problem),
        }
    }

    fn leave(&mut self, text: &str) -> Typed {
        match tag(text) {
            Ok(_) if self.all_tags => self.hint("you follow all tags, so you cannot leave one"),
            Ok(tag) => {
                self.tags.remove(&tag);
                Typed::Request(FeedRequest::Leave { tags: vec![tag], all_tags: false })
            }
            Err(problem) => self.hint(&problem),
        }
    }

    /// A post of its own: the random id stays with it until its receipt comes.
    fn post(&self, title: String) -> PostMessage {
        PostMessage {
            post_id: format!("{:032x}", rand::random::<u128>()),
            user_id: self.user_id.clone(),
            title,
            tags: self.tags.iter().take(limits::TAGS_PER_POST).cloned().collect(),
            ..Default::default()
        }
    }

    fn hint(&self, text: &str) -> Typed {
        text.lines().for_each(|line| self.talk.say(line));
        Typed::Nothing
    }
}

/// What the user sees of a feed.
struct View {
    console: Console,
    /// Whether the terminal has shown what was typed.
    echo: bool,
    /// Posts typed here, by id, until the feed has passed them.
    own: HashMap<String, Own>,
    follows: bool,
    refused: u64,
    posts: u64,
    position: Option<LogPosition>,
}

struct Own {
    title: String,
    /// Set by the receipt.
    sequence: Option<i64>,
}

impl View {
    fn new(console: Console, echo: bool) -> Self {
        Self {
            console,
            echo,
            own: HashMap::new(),
            follows: false,
            refused: 0,
            posts: 0,
            position: None,
        }
    }

    fn show(&mut self, event: FeedEvent) -> Result<(), Failure> {
        match event {
            FeedEvent::Sent(request) => self.sent(request)?,
            FeedEvent::Joined(joined) => {
                self.console.printer.received(&Event::from(&joined))?;
                self.follows = true;
                self.reached(joined.position);
            }
            FeedEvent::Left(left) => {
                self.console.printer.received(&Event::from(&left))?;
                self.follows = left.all_tags || !left.tags.is_empty();
                self.reached(left.position);
            }
            FeedEvent::Posts(batch) => self.posts(batch)?,
            FeedEvent::Receipt(receipt) => self.receipt(&receipt)?,
            FeedEvent::Bookmark(bookmark) => {
                self.console.printer.received(&Event::from(&bookmark))?;
                self.reached(bookmark.position);
            }
            FeedEvent::Disconnected(cut) => self.console.disconnected(&cut),
            FeedEvent::Reconnected(position) => {
                let position = position.as_ref().map(Position);
                self.console.printer.received(&Event::Reconnected { position })?;
            }
        }
        self.console.printer.flush()?;
        Ok(())
    }

    fn sent(&mut self, request: FeedRequest) -> Result<(), Failure> {
        let printer = &mut self.console.printer;
        match request {
            FeedRequest::Join { tags, all_tags } => {
                printer.sent("join", Followed(&tags, all_tags))?;
            }
            FeedRequest::Leave { tags, all_tags } => {
                printer.sent("leave", Followed(&tags, all_tags))?;
            }
            FeedRequest::Publish(post) => {
                if !self.echo {
                    printer.sent("publish", Headline(&post.title, &post.tags))?;
                }
                self.own.insert(post.post_id, Own { title: post.title, sequence: None });
            }
        }
        Ok(())
    }

    /// For people, a post that was typed here is shown by its receipt alone.
    fn posts(&mut self, batch: PostBatch) -> Result<(), Failure> {
        for post in &batch.post_messages {
            if self.console.printer.is_json() || !self.own.contains_key(&post.post_id) {
                self.console.printer.received(&Event::from(post))?;
                self.posts += 1;
            }
        }
        self.reached(batch.position);
        Ok(())
    }

    fn receipt(&mut self, receipt: &Receipt) -> Result<(), Failure> {
        let title = match self.own.get_mut(&receipt.post_id) {
            Some(own) => {
                own.sequence = Some(receipt.sequence);
                own.title.as_str()
            }
            None => "",
        };
        self.console.printer.received(&Event::receipt(receipt, title))?;
        self.refused += u64::from(receipt.status.is_some());
        self.forget_passed();
        Ok(())
    }

    fn reached(&mut self, position: Option<LogPosition>) {
        self.position = position;
        self.forget_passed();
    }

    /// A post that has its receipt will not come any more if it is behind the feed, if it was refused (sequence 0), or
    /// if nothing is followed. Programs are shown all posts anyway.
    fn forget_passed(&mut self) {
        let passed = self.position.as_ref().map_or(0, |position| position.sequence);
        let may_come = self.follows && !self.console.printer.is_json();
        self.own.retain(|_, own| own.sequence.is_none_or(|n| may_come && n > passed));
    }

    fn say_where_to_go_on(&self) {
        let talk = &self.console.talk;
        let unanswered = self.own.values().filter(|own| own.sequence.is_none()).count() as u64;
        if unanswered > 0 {
            let posts = counted(unanswered, "post");
            talk.say(format_args!("{posts} without a receipt: stored or not, nobody knows"));
        }
        // Without a position the server has answered nothing, and there is nothing to go on from.
        if let Some(position) = &self.position {
            let posts = counted(self.posts, "post");
            talk.say(format_args!("{posts}; {}", go_on_after(position)));
        }
    }
}
