//! What the user sees of an upload.

use std::{collections::HashMap, fmt};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use quartet::post::v1::{PostMessage, UploadPostsResponse, UploadReject};

use super::{
    super::{console::Console, failure::Failure},
    source::{BadLines, Preview, SHOWN_POSTS, Source},
};
use crate::{
    output::{Event, Headline, Reject, RejectStatus, counted},
    upload::UploadEvent,
};

/// What the user sees of an upload.
pub(super) struct View {
    /// The posts that are shown one by one.
    first: Vec<PostMessage>,
    /// How many of them were shown.
    shown: usize,
    /// How many posts the connection has taken.
    sent: u64,
    bar: ProgressBar,
    /// The server's response, once it has come.
    pub(super) response: Option<UploadPostsResponse>,
}

impl View {
    pub(super) fn new(preview: Preview) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos} of {len} posts, {rate}, {eta} left");
        let style = style.map(|style| style.with_key("rate", rate));
        let bar = preview.estimate.map_or_else(ProgressBar::hidden, ProgressBar::new);
        let bar = bar.with_style(style.expect("the template is valid: a test draws it"));
        Self { first: preview.posts, shown: 0, sent: 0, bar, response: None }
    }

    pub(super) fn show(
        &mut self,
        console: &mut Console,
        event: UploadEvent,
    ) -> Result<(), Failure> {
        match event {
            UploadEvent::Sent(posts) => self.show_sent(console, posts)?,
            UploadEvent::Disconnected(pause) => {
                self.bar.suspend(|| console.say_disconnected(&pause));
            }
            UploadEvent::Reconnected => {
                self.bar.suspend(|| {
                    console.printer.received(&Event::Reconnected { position: None })?;
                    console.printer.flush()
                })?;
            }
            UploadEvent::Done(response) => self.response = Some(response),
        }
        Ok(())
    }

    /// Shows the first posts one by one, and the others as a bar.
    fn show_sent(&mut self, console: &mut Console, posts: u64) -> Result<(), Failure> {
        self.sent = posts;
        let sent = usize::try_from(posts).unwrap_or(usize::MAX);
        for post in self.first.iter().take(sent).skip(self.shown) {
            console.printer.sent("post", Headline(&post.title, &post.tags))?;
            self.shown += 1;
        }
        if posts > SHOWN_POSTS as u64 {
            // Lines that came after the bar would begin behind it.
            console.printer.flush()?;
            self.bar.set_position(posts);
        }
        Ok(())
    }

    /// Shows the response, each reject with the line of its post, and the bad lines.
    pub(super) async fn finish(
        self,
        console: &mut Console,
        response: &UploadPostsResponse,
        source: &Source,
        bad_lines: &BadLines,
    ) -> Result<(), Failure> {
        if let more @ 1.. = self.sent - self.shown as u64 {
            let posts = counted(more, "post");
            console.printer.sent("more", format_args!("{posts} like these"))?;
        }
        let posts = counted(self.sent, "post");
        console.printer.sent("finish", format_args!("{posts} in all"))?;

        let indices = response.rejects.iter().map(|reject| reject.index).collect();
        let numbers = source.line_numbers(indices).await;
        let numbers = numbers.map_err(|error| Failure::Input("the file again".into(), error))?;
        console.printer.received(&uploaded(response, &numbers))?;
        console.printer.flush()?;
        for (line, problem) in &bad_lines.first {
            console.stderr.say(format_args!("line {line}: {problem}"));
        }
        Ok(())
    }

    /// Removes the bar, however the call has ended.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Says, after a failure, that the upload can be repeated, at once or once its cause is gone.
    pub(super) fn say_repeating_is_safe(&self, console: &Console, is_permanent: bool) {
        if self.sent > 0 {
            console.stderr.say(if is_permanent {
                "some posts may be stored; once the cause is gone, the same command stores nothing \
                 twice"
            } else {
                "some posts may be stored; run the same command again, it stores nothing twice"
            });
        }
    }
}

/// Posts per second, without decimals.
fn rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    // An error of the text has nowhere to go: the bar is drawn again soon.
    let _ = write!(text, "{} posts/s", HumanCount(state.per_sec() as u64));
}

fn uploaded<'a>(response: &'a UploadPostsResponse, line_numbers: &HashMap<i64, u64>) -> Event<'a> {
    let reject = |reject: &'a UploadReject| Reject {
        index: reject.index,
        line: line_numbers.get(&reject.index).copied(),
        post_id: &reject.post_id,
        status: reject.status.as_ref().map(RejectStatus::from),
    };
    Event::Uploaded {
        created_count: response.created_count,
        duplicate_count: response.duplicate_count,
        reject_count: response.reject_count,
        rejects: response.rejects.iter().map(reject).collect(),
        position: (&response.position).into(),
        complete: response.complete,
    }
}
