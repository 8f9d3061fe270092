//! `client-streaming`: many requests, one response, repeated after a cut.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use quartet::{post::v1::UploadPostsResponse, reason::LOG_READ_ONLY};
use tokio::time::sleep;

use self::{
    source::{BadLines, Source},
    view::View,
};
use super::{console::Stderr, failure::Failure, flags::CommandLine, frame::Frame, io::Io};
use crate::{output::counted, upload::upload_posts};

mod source;
mod view;

const RPC: &str = "UploadPosts";

/// Uploads posts from JSON lines: the client-streaming RPC.
///
/// Many requests go out, one post each and a finish at the end, and one response comes back for all
/// of them. Each line of the file is {"post_id"?, "user_id", "title", "body"?, "tags"?}. A missing
/// post_id is derived from the content of the post and from the number of equal posts before it in
/// the file, so that uploading a file again stores nothing twice. What the readers print with
/// --json can be uploaded too. If the connection is cut, the program sends everything again;
/// therefore a pipe is read to its end first.
#[derive(Debug, Clone, clap::Args)]
#[command(display_name = "client-streaming", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// A file of JSON lines; - is stdin, which is sent once it has ended
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
}

/// The command line of `client-streaming`.
pub type Args = CommandLine<Flags>;

/// How long an input may take before the user is told.
const A_MOMENT: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = r#"Examples:
  client-streaming posts.jsonl
  echo '{"user_id":"1","title":"Hello","tags":["go"]}' | client-streaming

Next: upload the same file again and see the duplicates; then bidirectional, with two streams."#;

/// Runs the command.
///
/// # Errors
/// [`Failure`]: there was no response, or it says that not every post was stored.
pub async fn run(Args { own: flags, common }: Args, io: Io) -> Result<(), Failure> {
    let (mut frame, input) = Frame::writer(RPC, common, io);
    if flags.file.as_os_str() == "-" && input.is_terminal {
        frame.console.stderr.say("type a JSON line per post, then Ctrl-D");
    }
    let name = flags.file.display().to_string();
    let (waits, stderr) = (waits_for_the_end(&flags.file), frame.console.stderr.clone());
    let open = Source::open(flags.file, input.bytes, frame.console.has_progress_bar);
    let open = with_notice(open, waits.then_some(stderr));
    // If the user interrupts, a thread may still wait for input. Nothing waits for the thread.
    let opened = frame.unless_interrupted(open).await?;
    let (source, preview) = opened.map_err(|error| Failure::Input(name, error))?;
    let mut view = View::new(preview);
    frame.console.printer.sent("call", RPC)?;

    let events = upload_posts(frame.connect()?, || source.posts());
    let ended = frame
        .show_events(events, |console, event| {
            view.show(console, event)?;
            Ok(ControlFlow::Continue(()))
        })
        .await;
    view.end();
    let response = ended.and_then(|()| view.response.take().ok_or(Failure::Interrupted));
    let response = response.inspect_err(|failure| {
        if !is_read_only(failure) {
            view.say_repeating_is_safe(&frame.console, is_permanent(failure));
        }
    })?;
    let bad_lines = source.bad_lines();
    view.finish(&mut frame.console, &response, &source, &bad_lines).await?;
    verdict(&response, &bad_lines)
}

/// Whether a file is read to its end before its first post is sent: stdin, or another pipe. Every
/// attempt sends all posts again, so all must be at hand.
fn waits_for_the_end(file: &Path) -> bool {
    file.as_os_str() == "-" || file.metadata().is_ok_and(|metadata| !metadata.is_file())
}

/// Says after a moment that the input has not ended, if there is somewhere to say it.
async fn with_notice<T>(reading: impl Future<Output = T>, notice: Option<Stderr>) -> T {
    let mut reading = pin!(reading);
    if let Some(stderr) = notice {
        tokio::select! {
            done = &mut reading => return done,
            () = sleep(A_MOMENT) => {
                stderr.say("still reading: the posts are sent once the input has ended");
            }
        }
    }
    reading.await
}

/// Whether the server accepts no posts at all: it stored none of these.
fn is_read_only(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Call { error, .. } if error.reason().as_deref() == Some(LOG_READ_ONLY)
    )
}

/// Whether the same call would fail in the same way.
fn is_permanent(failure: &Failure) -> bool {
    match failure {
        Failure::Call { error, .. } => !error.is_resumable() && !error.is_deadline_exceeded(),
        _ => false,
    }
}

/// Exit code 0 means that every line of the file is in the log.
fn verdict(response: &UploadPostsResponse, bad_lines: &BadLines) -> Result<(), Failure> {
    let mut problems = Vec::new();
    if bad_lines.count > 0 {
        problems.push(counted(bad_lines.count, "bad line"));
    }
    if response.reject_count > 0 {
        problems.push(format!("{} refused", counted(response.reject_count.unsigned_abs(), "post")));
    }
    if !response.complete {
        problems.push("the server did not see the whole upload".into());
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Partial(problems.join(", "))) }
}
