//! The order checker as a judge of readers.

use quartet::post::v1::{ListPostsRequest, PostMessage};
use quartet_check::{
    History,
    history::{Event, Post, Run, What},
    record,
};

use crate::{reader::Reader, verdict::Verdict};

/// Whether a reader handled the log in order, with no gap and no duplicate.
///
/// # Errors
/// The first promise that its history breaks, in the words of the order checker.
pub fn order(log: &[PostMessage], reader: &Reader) -> Verdict {
    let opened = record::list(&ListPostsRequest::default());
    let handled = reader.batches().iter().map(record::batch);
    let read = std::iter::once(opened).chain(handled).map(|what| event("the reader", what));
    let history = History {
        run: Run { log_id: log_id(reader), users: users(log), ..Run::default() },
        events: written(log).chain(read).collect(),
        log: log.iter().map(Post::from).collect(),
    };
    quartet_check::check(&history).first().map_or(Ok(()), |broken| {
        Err(format!(
            "The order checker found a broken promise.\n{}: {}",
            broken.promise, broken.why
        ))
    })
}

/// One upload of the whole log: the checker asks where each post came from.
fn written(log: &[PostMessage]) -> impl Iterator<Item = Event> {
    let sent = log.iter().map(|post| What::Sent {
        post: Post { author: String::new(), sequence: 0, ..Post::from(post) },
    });
    std::iter::once(record::upload()).chain(sent).map(|what| event("the writer", what))
}

fn log_id(reader: &Reader) -> String {
    let position = reader.batches().iter().find_map(|batch| batch.position.clone());
    position.map(|position| position.log_id).unwrap_or_default()
}

fn users(log: &[PostMessage]) -> std::collections::BTreeMap<String, String> {
    log.iter().map(|post| (post.user_id.clone(), post.author.clone())).collect()
}

fn event(client: &str, what: What) -> Event {
    Event { at: 0, client: client.to_owned(), call: 0, what }
}
