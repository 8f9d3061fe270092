//! `client-streaming`: many requests, one answer, sent again after a cut.

use std::{
    collections::HashMap,
    io::{self, Read},
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use async_stream::try_stream;
use clap::Parser;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use quartet::{
    post::v1::{PostMessage, UploadPostsResponse, UploadReject},
    reason::LOG_READ_ONLY,
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{Common, Console, Failure, Io, Talk, bounded};
use crate::{
    PostSource, UploadEvent,
    output::{Event, Headline, Printer, Reject, RejectStatus, counted},
    post_file::PostFile,
    upload_posts,
};

const RPC: &str = "UploadPosts";

/// Uploads posts from JSON lines: the client-streaming RPC.
///
/// Many requests go out, one post each and a finish at the end, and one answer
/// comes back for all of them. Each line of the file is
/// {"post_id"?, "user_id", "title", "body"?, "tags"?}. A missing post_id is
/// derived from what the post says and from how many equal posts stand before
/// it in the file, so that uploading a file again stores nothing twice.
/// If the connection is cut, the program sends everything again.
#[derive(Debug, Clone, Parser)]
#[command(name = "client-streaming", version, verbatim_doc_comment, after_help = AFTER_HELP)]
pub struct Args {
    /// A file of JSON lines; - is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// What all four take.
    #[command(flatten)]
    pub common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

const AFTER_HELP: &str = r#"Examples:
  client-streaming posts.jsonl
  echo '{"user_id":"1","title":"Hello","tags":["go"]}' | client-streaming

Next: upload the same file again and see the duplicates; then bidirectional,
where both sides stream."#;

/// Posts that are shown as they are sent; the others are counted.
const SHOWN_POSTS: usize = 10;
/// Bad lines that are shown; the others are counted.
const SHOWN_LINES: usize = 100;
/// Posts that the reader of the file may be ahead of the connection.
const POSTS_AHEAD: usize = 256;

/// Runs the command.
///
/// # Errors
/// [`Failure`] says in one line what went wrong: no answer, or one that says that not everything was stored.
pub async fn run(args: Args, io: Io) -> Result<(), Failure> {
    let printer = Printer::new(io.out, args.common.json, io.color);
    let console = Console { printer, talk: Talk::new(io.err) };
    if args.file.as_os_str() == "-" && io.echo {
        console.talk.say("type a JSON line per post, then Ctrl-D");
    }
    let name = args.file.display().to_string();
    let unreadable = |error| Failure::Input(name.clone(), error);
    let prepare = move || prepare(&args.file, io.input, io.progress);
    let mut interrupt = io.interrupt;
    let prepared = tokio::select! {
        prepared = blocking(prepare) => prepared.map_err(unreadable)?,
        // The thread may read on for as long as nobody ends the input; nothing waits for it.
        () = &mut interrupt => return Err(Failure::Interrupted),
    };
    let mut view = View::new(console, &prepared);
    view.console.printer.sent("call", RPC)?;

    let file = Arc::new(prepared.file);
    let bad_lines = Arc::new(Mutex::new(BadLines::default()));
    let channel = args.common.connect(RPC)?;
    let posts = || posts(file.clone(), bad_lines.clone());
    let events = upload_posts(channel, posts);
    let mut events = pin!(bounded(RPC, &args.common, interrupt, events));
    let mut answer = Err(Failure::Interrupted);
    while let Some(event) = events.next().await {
        match event {
            Ok(UploadEvent::Done(response)) => answer = Ok(response),
            Ok(event) => view.show(event)?,
            Err(failure) => answer = Err(failure),
        }
    }
    let answer = answer.inspect_err(|failure| view.say_what_is_safe(failure))?;
    let bad_lines = std::mem::take(&mut *lock(&bad_lines));
    view.finish(&answer, &file, bad_lines).await
}

/// What is known before anything is sent.
struct Prepared {
    file: PostFile,
    first: Vec<PostMessage>,
    estimate: Option<u64>,
}

fn prepare(path: &std::path::Path, stdin: impl Read, progress: bool) -> io::Result<Prepared> {
    let file =
        if path.as_os_str() == "-" { PostFile::spool(stdin)? } else { PostFile::open(path)? };
    let posts = file.entries().filter_map(|entry| entry.ok()?.post.ok());
    let first = posts.take(SHOWN_POSTS).collect();
    let estimate = if progress { Some(file.estimate()?) } else { None };
    Ok(Prepared { file, first, estimate })
}

/// The posts of the file, parsed on a thread and read as the connection takes them.
///
/// What is wrong with lines is known once all were read.
fn posts(file: Arc<PostFile>, bad_lines: Arc<Mutex<BadLines>>) -> PostSource {
    Box::pin(try_stream! {
        let (sender, mut posts) = mpsc::channel(POSTS_AHEAD);
        let reader = spawn_blocking(move || read(&file, &sender));
        while let Some(post) = posts.recv().await {
            yield post;
        }
        // The posts have ended, or their reader has: only its result tells.
        let found = reader.await.map_err(io::Error::other)??;
        *lock(&bad_lines) = found;
    })
}

fn read(file: &PostFile, posts: &mpsc::Sender<PostMessage>) -> io::Result<BadLines> {
    let mut bad_lines = BadLines::default();
    for entry in file.entries() {
        let entry = entry?;
        match entry.post {
            Ok(post) => {
                if posts.blocking_send(post).is_err() {
                    break; // the call is over
                }
            }
            Err(problem) => bad_lines.push(entry.line, problem),
        }
    }
    Ok(bad_lines)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Lines that are no posts.
#[derive(Debug, Default)]
struct BadLines {
    count: u64,
    first: Vec<(u64, String)>,
}

impl BadLines {
    fn push(&mut self, line: u64, problem: String) {
        self.count += 1;
        if self.first.len() < SHOWN_LINES {
            self.first.push((line, problem));
        }
    }
}

fn lock(bad_lines: &Mutex<BadLines>) -> std::sync::MutexGuard<'_, BadLines> {
    bad_lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the user sees of an upload.
struct View {
    console: Console,
    first: Vec<PostMessage>,
    shown: usize,
    sent: u64,
    bar: ProgressBar,
}

impl View {
    fn new(console: Console, prepared: &Prepared) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos} of {len} posts, {per_sec}, {eta} left");
        let bar = prepared.estimate.map_or_else(ProgressBar::hidden, ProgressBar::new);
        let bar = bar.with_style(style.expect("the template is valid: a test draws it"));
        Self { console, first: prepared.first.clone(), shown: 0, sent: 0, bar }
    }

    fn show(&mut self, event: UploadEvent) -> Result<(), Failure> {
        match event {
            UploadEvent::Sent(posts) => self.sent(posts)?,
            UploadEvent::Disconnected(cut) => self.bar.suspend(|| self.console.disconnected(&cut)),
            UploadEvent::Reconnected => {
                self.console.printer.received(&Event::Reconnected { position: None })?;
            }
            UploadEvent::Done(_) => {}
        }
        self.console.printer.flush()?;
        Ok(())
    }

    /// Shows the first posts one by one, and the others as a bar.
    fn sent(&mut self, posts: u64) -> Result<(), Failure> {
        self.sent = posts;
        for post in self.first.iter().take(posts.try_into().unwrap_or(usize::MAX)).skip(self.shown)
        {
            self.console.printer.sent("post", Headline(&post.title, &post.tags))?;
            self.shown += 1;
        }
        if posts > SHOWN_POSTS as u64 {
            self.bar.set_position(posts);
        }
        Ok(())
    }

    async fn finish(
        mut self,
        answer: &UploadPostsResponse,
        file: &Arc<PostFile>,
        bad_lines: BadLines,
    ) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let printer = &mut self.console.printer;
        if let more @ 1.. = self.sent - self.shown as u64 {
            printer.sent("more", format_args!("{} like these", counted(more, "post")))?;
        }
        printer.sent("finish", format_args!("{} in all", counted(self.sent, "post")))?;

        let indices: Vec<i64> = answer.rejects.iter().map(|reject| reject.index).collect();
        let source = file.clone();
        let numbers = blocking(move || source.line_numbers(&indices)).await;
        let numbers = numbers.map_err(|error| Failure::Input("the file again".into(), error))?;
        printer.received(&uploaded(answer, &numbers))?;
        printer.flush()?;

        for (line, problem) in &bad_lines.first {
            self.console.talk.say(format_args!("line {line}: {problem}"));
        }
        verdict(answer, &bad_lines)
    }

    fn say_what_is_safe(&self, failure: &Failure) {
        self.bar.finish_and_clear();
        if self.sent > 0 && !is_read_only(failure) {
            self.console.talk.say(
                "some posts may be stored; run the same command again, it stores nothing twice",
            );
        }
    }
}

/// Whether the server takes no posts: it stored none of these, and will not the next time.
fn is_read_only(failure: &Failure) -> bool {
    matches!(failure, Failure::Call { error, .. } if error.reason().as_deref() == Some(LOG_READ_ONLY))
}

fn uploaded<'a>(answer: &'a UploadPostsResponse, line_numbers: &HashMap<i64, u64>) -> Event<'a> {
    let reject = |reject: &'a UploadReject| Reject {
        index: reject.index,
        line: line_numbers.get(&reject.index).copied(),
        post_id: &reject.post_id,
        status: reject.status.as_ref().map(RejectStatus::from),
    };
    Event::Uploaded {
        created_count: answer.created_count,
        duplicate_count: answer.duplicate_count,
        reject_count: answer.reject_count,
        rejects: answer.rejects.iter().map(reject).collect(),
        position: (&answer.position).into(),
        complete: answer.complete,
    }
}

/// Exit code 0 says that every line of the file is in the log.
fn verdict(answer: &UploadPostsResponse, bad_lines: &BadLines) -> Result<(), Failure> {
    let mut problems = Vec::new();
    if bad_lines.count > 0 {
        problems.push(counted(bad_lines.count, "bad line"));
    }
    if answer.reject_count > 0 {
        problems.push(format!("{} refused", counted(answer.reject_count.unsigned_abs(), "post")));
    }
    if !answer.complete {
        problems.push("the server did not see the whole upload".into());
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Partial(problems.join(", "))) }
}
