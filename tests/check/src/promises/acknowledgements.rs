//! Promises about acknowledgements to writers.

use super::{
    finder::{Finder, can_go_on},
    writing::accepted,
};
use crate::{
    history::{Outcome, Position, Post, Rpc, Uploaded, What},
    view::{Call, Index, View},
};

/// The codes of final refusals; every other error ends the call instead.
const FINAL: [&str; 4] = ["INVALID_ARGUMENT", "ALREADY_EXISTS", "NOT_FOUND", "PERMISSION_DENIED"];

pub(super) fn receipts(view: &View<'_>, found: &mut Finder) {
    for call in &view.calls {
        receipts_answer_publishes(view, call, found);
        if let Some((event, answer)) = call.uploaded() {
            upload_is_counted(call, event, answer, found);
            upload_is_true(view, call, event, answer, found);
        }
        // How a reader's call ended is judged by the promises to readers.
        if let Some((event, ended)) = call.ended()
            && call.opened.rpc == Rpc::Upload
            && !can_go_on(ended)
        {
            found.on(call, event, format!("it ended {} {}", ended.code, ended.reason));
        }
    }
}

/// One receipt per publish, in order, and true.
fn receipts_answer_publishes(view: &View<'_>, call: &Call<'_>, found: &mut Finder) {
    let mut published = call.sent();
    for (event, post_id, outcome) in call.receipts() {
        match published.next() {
            Some((sent, post)) if sent < event && post.post_id == post_id => {
                if let Some(why) = untrue(view, post, outcome) {
                    found.on(call, event, why);
                }
            }
            Some((_, post)) => {
                let why = format!("{post_id} was answered in place of {}", post.post_id);
                found.on(call, event, why);
                return;
            }
            None => {
                found.on(call, event, format!("{post_id} was answered and never published"));
                return;
            }
        }
    }
    let uploads = call.uploaded().is_some();
    if let Some((event, _)) = call.ended().filter(|(_, ended)| ended.code == "OK" && !uploads)
        && let Some((_, post)) = published.next()
    {
        found.on(call, event, format!("{} was never answered", post.post_id));
    }
}

/// What is wrong with an outcome, given the content of the log.
fn untrue(view: &View<'_>, sent: &Post, outcome: &Outcome) -> Option<String> {
    let id = &sent.post_id;
    let stored = view.stored.get(id.as_str());
    match outcome {
        Outcome::Refused { code } if !FINAL.contains(&code.as_str()) => {
            Some(format!("{id} was refused with {code}, which is not final"))
        }
        Outcome::Refused { code } if code == "ALREADY_EXISTS" => {
            let taken = stored.is_some_and(|stored| !stored.has_content_of(sent));
            (!taken).then(|| format!("{id} is not taken"))
        }
        // Whether a user is permitted depends on the caller; the other refusals are the same for
        // everyone.
        Outcome::Refused { code } if code == "PERMISSION_DENIED" => None,
        Outcome::Refused { code } => {
            let there = stored.is_some_and(|stored| stored.is_same(sent));
            there.then(|| format!("{id} was refused with {code} and is stored"))
        }
        Outcome::Created { .. } | Outcome::Duplicate { .. } => {
            let other = stored.is_some_and(|stored| !stored.has_content_of(sent));
            other.then(|| format!("{id} was accepted with other content"))
        }
    }
}

/// The answer counts the posts sent, and says `complete` if and only if the finish was right.
fn upload_is_counted(call: &Call<'_>, event: Index, answer: &Uploaded, found: &mut Finder) {
    let sent = call.sent().count() as u64;
    let received = answer.created + answer.duplicates + answer.refused;
    let finished = call.events.iter().find_map(|(_, what)| match what {
        What::Finished { post_count } => Some(*post_count),
        _ => None,
    });
    if received > sent || (finished.is_some() && received != sent) {
        found.on(call, event, format!("{received} posts were received of {sent} sent"));
    }
    if answer.complete != (finished == Some(received)) {
        let why = format!("complete is {}, the finish said {finished:?}", answer.complete);
        found.on(call, event, why);
    }
    let accepted = accepted(call).len() as u64;
    if accepted > 0 && accepted != answer.created + answer.duplicates {
        found.on(call, event, "the refusals name posts that were not sent");
    }
}

/// The refusals are true, and the position is the largest sequence of the upload's posts.
fn upload_is_true(
    view: &View<'_>,
    call: &Call<'_>,
    event: Index,
    answer: &Uploaded,
    found: &mut Finder,
) {
    for (index, code) in &answer.refusals {
        let refused = call.sent().nth(usize::try_from(*index).unwrap_or(usize::MAX));
        let outcome = Outcome::Refused { code: code.clone() };
        if let Some(why) = refused.and_then(|(_, post)| untrue(view, post, &outcome)) {
            found.on(call, event, why);
        }
    }
    let accepted = accepted(call);
    let places: Vec<i64> = accepted.iter().filter_map(|post| view.place(post)).collect();
    let is_known = accepted.len() as u64 == answer.created + answer.duplicates;
    // A missing post breaks another promise.
    if !is_known || places.len() < accepted.len() {
        return;
    }
    let largest = places.into_iter().max().unwrap_or(0);
    let Position { log_id, sequence, .. } = &answer.position;
    if *sequence != largest || *log_id != view.history.run.log_id {
        let why = format!("its position is {sequence} of {log_id:?}, its last post is at");
        found.on(call, event, format!("{why} {largest}"));
    }
}
