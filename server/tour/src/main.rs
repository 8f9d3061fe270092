//! The tour: starts a server with a log of its own, runs the four clients against it, shows each
//! message as it passes, and checks the order of every message.

use std::{error::Error, process::ExitCode};

use clap::Parser;
use quartet_client::command::{bidirectional, client_streaming, rust_log, server_streaming, unary};
use quartet_server::{
    server::Server,
    settings::{LogSettings, Settings},
};
use serde::Deserialize;
use stage::{Stage, say};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;

mod stage;

/// Shows the four gRPC RPC kinds at work against one server, each message as it passes.
///
/// It needs nothing and leaves nothing behind: the server listens on a free port and keeps its log
/// in a temporary directory. The exit code is 1 if a client saw a message out of order.
#[derive(Debug, Parser)]
#[command(name = "tour", version)]
struct Cli {
    /// Wait for Enter before each part.
    #[arg(long)]
    step: bool,
}

/// What Ann uploads.
const UPLOAD: &str = concat!(
    r#"{"user_id":"1","title":"How do you make coffee?","body":"Mine is bitter.","#,
    r#""tags":["coffee","question"]}"#,
    "\n",
    r#"{"user_id":"2","title":"Grind it coarser","body":"And use less.","tags":["coffee"]}"#,
    "\n",
    r#"{"user_id":"3","title":"차를 마셔 보세요","body":"Tea is never bitter.","tags":["tea"]}"#,
    "\n",
    r#"{"user_id":"1","title":"Thanks, that helped","body":"Both did.","tags":["coffee","tea"]}"#,
    "\n",
);

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    rust_log::init(Targets::default());
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("\nthe tour failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let log = LogSettings::directory(folder.path().join("log"));
    let server = Server::open(Settings { log, ..Settings::default() }).await?;
    let stop = CancellationToken::new();
    let serve = server.serve(listener, stop.clone().cancelled_owned());
    let tour = async {
        let stage = Stage::new(endpoint, folder.path().to_owned(), cli.step);
        let result = tour(&stage).await;
        stop.cancel();
        result
    };
    let (served, toured) = tokio::join!(serve, tour);
    toured?;
    Ok(served?)
}

async fn tour(stage: &Stage) -> Result<(), Box<dyn Error>> {
    say("One server keeps an ordered log of posts. Four RPC kinds are four ways to talk to it.");
    say("An arrow to the right is a message to the server, one to the left a message from it.");

    stage.part(
        "1. Client streaming: UploadPosts",
        "Many requests, one response. The finish says how many posts there were.",
    )?;
    stage.file("posts.jsonl", UPLOAD)?;
    let command = "client-streaming posts.jsonl";
    stage.start("ann", command, client_streaming::run).end().await?;
    say("\nAgain: the ids are the same, so nothing is stored twice.\n");
    stage.start("ann", command, client_streaming::run).end().await?;

    stage.part(
        "2. Server streaming: ListPosts",
        "One request, many responses, in the order of the log.",
    )?;
    let list =
        stage.start("bob", "server-streaming --tag coffee", server_streaming::run).end().await?;

    stage.part("3. Unary: ListPostsByUserId", "One request, one response.")?;
    let page = stage.start("bob", "unary --user-id 1", unary::run).end().await?;

    stage.part(
        "4. Bidirectional streaming: TagFeed",
        "Both sides send when they have something to say.",
    )?;
    let chat = chat(stage).await?;

    stage.part("The order", "What every client saw, against the log as it is now.")?;
    check_order(&log(stage).await?, &list, &page, &chat)?;
    say("\nAll in order. Next: start a server and talk to it yourself, as the README shows.");
    Ok(())
}

// ANCHOR: chat
async fn chat(stage: &Stage) -> Result<Chat, Box<dyn Error>> {
    let follow = "server-streaming --follow --after 4 --limit 4";
    let mut follower = stage.start("follower", follow, server_streaming::run);
    follower.shows("complete").await?;
    let mut ann = stage.start("ann", "bidirectional --tag coffee --user-id 2", bidirectional::run);
    ann.shows("caught up").await?;
    let mut bob = stage.start("bob", "bidirectional --tag coffee --user-id 3", bidirectional::run);
    bob.shows("caught up").await?;

    ann.types("Who wants coffee?")?;
    ann.shows("receipt").await?;
    bob.shows("Who wants coffee?").await?;
    bob.types("Me, please")?;
    ann.shows("Me, please").await?;

    // A leave takes effect at a position: bob gets no post after it.
    bob.types("/leave coffee")?;
    bob.shows("left").await?;
    ann.types("Bob has gone, more for me")?;
    ann.shows("receipt       7").await?;
    bob.types("/join tea")?;
    bob.shows("joined   #tea").await?;
    bob.types("Tea, then")?;
    bob.shows("receipt       8").await?;

    let (follower, ann, bob) = (follower.end().await?, ann.end().await?, bob.end().await?);
    Ok(Chat { ann, bob, follower })
}
// ANCHOR_END: chat

/// What the clients of the chat printed.
struct Chat {
    ann: Vec<String>,
    bob: Vec<String>,
    follower: Vec<String>,
}

fn check_order(
    log: &[Post],
    list: &[String],
    page: &[String],
    chat: &Chat,
) -> Result<(), Box<dyn Error>> {
    let uploaded: Vec<Uploaded> =
        UPLOAD.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (old, new) = log.split_at_checked(uploaded.len()).ok_or("posts are missing")?;

    let titles = |post: &Post| post.title.clone();
    let claim = "the upload stands in the log in the order of its file";
    check(claim, uploaded.into_iter().map(|post| post.title), old.iter().map(titles))?;

    let coffee_of_others = |post: &&Post| post.user_id != "2" && post.has("coffee");
    for (claim, saw, expected) in [
        (
            "the list saw every coffee post",
            received(list, "post"),
            numbers(old, |p| p.has("coffee")),
        ),
        (
            "the page holds the posts of user 1",
            received(page, "post"),
            numbers(old, |p| p.user_id == "1"),
        ),
        (
            "the follower saw every new post",
            received(&chat.follower, "post"),
            numbers(new, |_| true),
        ),
        (
            "ann saw the others' coffee posts",
            received(&chat.ann, "post"),
            numbers(new, coffee_of_others),
        ),
        (
            "ann's receipts name the places of her posts",
            received(&chat.ann, "receipt"),
            numbers(new, |p| p.user_id == "2"),
        ),
        (
            "bob saw nothing of coffee after he left it",
            received(&chat.bob, "post"),
            numbers(new, |p| p.sequence == 5),
        ),
    ] {
        check(claim, saw, expected)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Uploaded {
    title: String,
}

/// A post of `--json`.
#[derive(Deserialize)]
struct Post {
    sequence: u64,
    user_id: String,
    title: String,
    tags: Vec<String>,
}

impl Post {
    fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|has| has == tag)
    }
}

/// The log as it is now, read by a client without output.
async fn log(stage: &Stage) -> Result<Vec<Post>, Box<dyn Error>> {
    let lines = stage.ask("server-streaming --json", server_streaming::run).await?;
    let posts = lines.iter().filter(|line| line.contains(r#""event":"post""#));
    Ok(posts.map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?)
}

fn numbers(posts: &[Post], which: impl Fn(&&Post) -> bool) -> Vec<u64> {
    posts.iter().filter(which).map(|post| post.sequence).collect()
}

/// The sequences of a client's lines of one kind: `← post     7  …`.
fn received(lines: &[String], kind: &str) -> Vec<u64> {
    let words = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words.len() > 2 && words[0] == "←" && words[1] == kind)
        .filter_map(|words| words[2].parse().ok())
        .collect()
}

/// Checks that two sequences are equal, and prints the claim.
fn check<T: PartialEq + std::fmt::Debug>(
    claim: &str,
    saw: impl IntoIterator<Item = T>,
    expected: impl IntoIterator<Item = T>,
) -> Result<(), Box<dyn Error>> {
    let (saw, expected): (Vec<T>, Vec<T>) =
        (saw.into_iter().collect(), expected.into_iter().collect());
    if saw != expected {
        return Err(format!("not true: {claim}: expected {expected:?}, got {saw:?}").into());
    }
    say(format_args!("  ok  {claim}"));
    Ok(())
}
