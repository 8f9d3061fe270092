//! Promises to readers about the posts and positions that they receive.

use std::collections::BTreeSet;

use super::finder::{Finder, can_go_on};
use crate::{
    history::{Position, Post, Rpc},
    view::{Call, InForce, View},
};

pub(super) fn ordered(view: &View<'_>, found: &mut Finder) {
    for calls in view.readers().into_values() {
        let mut last = 0;
        for call in calls {
            for (event, post) in call.delivered() {
                if post.sequence <= last {
                    found.on(call, event, format!("{} came after {last}", post.sequence));
                }
                last = post.sequence;
            }
            // The client library checks the order itself, and ends the call if it is violated.
            if let Some((event, ended)) = call.ended().filter(|(_, ended)| ended.code == "PROTOCOL")
            {
                found.on(call, event, format!("the client refused it: {}", ended.reason));
            }
        }
    }
}

pub(super) fn unique(view: &View<'_>, found: &mut Finder) {
    for call in view.readers().into_values().flatten() {
        let start = call.start().unwrap_or(0);
        let mut seen = BTreeSet::new();
        for (event, post) in call.delivered() {
            if post.sequence <= start {
                let why = format!("{} came on a stream that starts after {start}", post.sequence);
                found.on(call, event, why);
            }
            if !seen.insert(post.sequence) {
                found.on(call, event, format!("{} came twice", post.sequence));
            }
        }
    }
}

pub(super) fn reliable(view: &View<'_>, found: &mut Finder) {
    each_missing(view, |call, post, explained| {
        if !explained {
            let end = call.messages().last().map_or(call.begun, |message| message.index);
            found.on(call, end, format!("{} was left out", post.sequence));
        }
    });
}

pub(super) fn filter(view: &View<'_>, found: &mut Finder) {
    for call in view.readers().into_values().flatten() {
        let in_force = call.in_force();
        for (event, post) in call.delivered() {
            // A post before the first join's position violates the start of the stream, not its
            // filter.
            let asked_for = match at(&in_force, post.sequence) {
                Some(in_force) => in_force.follows.matches(post),
                None => !in_force.is_empty(),
            };
            if !asked_for {
                found.on(call, event, format!("{} does not match the filter", post.sequence));
            }
        }
    }
    each_missing(view, |call, post, explained| {
        if explained {
            let why = format!("{} was left out as if a join were not in force yet", post.sequence);
            found.on(call, call.begun, why);
        }
    });
}

/// Calls `missing` for matching posts that were not delivered before a position past them.
/// `explained` says whether the filter in force before a change explains it.
fn each_missing<'a>(view: &View<'a>, mut missing: impl FnMut(&Call<'a>, &'a Post, bool)) {
    for call in view.readers().into_values().flatten() {
        let (Some(start), Some(end)) = (call.start(), call.position()) else { continue };
        let came: BTreeSet<i64> = call.delivered().map(|(_, post)| post.sequence).collect();
        let in_force = call.in_force();
        for post in view.between(start, end) {
            let Some(now) = at(&in_force, post.sequence) else { continue };
            if now.follows.matches(post) && !came.contains(&post.sequence) {
                let before = in_force.iter().rfind(|change| change.after < now.after);
                let explained = before.is_some_and(|before| !before.follows.matches(post));
                missing(call, post, explained);
            }
        }
    }
}

/// The filter in force at a sequence: the last change before it.
fn at<'a>(in_force: &[InForce<'a>], sequence: i64) -> Option<InForce<'a>> {
    in_force.iter().rfind(|change| change.after < sequence).copied()
}

pub(super) fn bookmarkable(view: &View<'_>, found: &mut Finder) {
    for call in view.readers().into_values().flatten() {
        let Some(mut position) = call.start() else { continue };
        for message in call.messages() {
            let (event, next) = (message.index, message.position.sequence);
            if let Some(post) = message.posts.iter().find(|post| post.sequence <= position) {
                let why = format!("{} came after position {position}", post.sequence);
                found.on(call, event, why);
            }
            if let Some(post) = message.posts.iter().find(|post| post.sequence > next) {
                found.on(call, event, format!("position {next} came with {}", post.sequence));
            }
            if next < position {
                found.on(call, event, format!("position {next} came after position {position}"));
            }
            position = position.max(next);
        }
    }
}

pub(super) fn resumable(view: &View<'_>, found: &mut Finder) {
    let log_id = &view.history.run.log_id;
    let is_ours = |position: &Position| {
        (position.log_id.is_empty() || position.log_id == *log_id) && view.is_of_branch(position)
    };
    for calls in view.readers().into_values() {
        let mut reached: Option<i64> = None;
        for call in calls {
            let after = call.opened.after.as_ref();
            if !after.is_none_or(is_ours) {
                another_logs_start(call, found);
                continue;
            }
            let start = after.map(|position| position.sequence);
            if let (Some(reached), Some(start)) = (reached, start)
                && reached != start
            {
                let why = format!("it stood at {reached} and resumed after {start}");
                found.on(call, call.begun, why);
            }
            if let (Rpc::Feed, Some(asked), Some(let_in)) = (call.opened.rpc, start, call.start())
                && asked != let_in
            {
                found.on(call, call.begun, format!("asked for {asked} and joined at {let_in}"));
            }
            if let Some((event, ended)) =
                call.ended().filter(|(_, ended)| !can_go_on(ended) && ended.code != "PROTOCOL")
            {
                let why = format!("after {start:?} it ended {} {}", ended.code, ended.reason);
                found.on(call, event, why);
            }
            for message in call.messages() {
                if message.position.log_id != *log_id {
                    found.on(call, message.index, "a position without this log's id");
                } else if !view.is_of_branch(message.position) {
                    found.on(call, message.index, "a position with a chain value of another log");
                }
            }
            reached = call.position().or(reached);
        }
    }
}

/// A start position of another log, or of a branch that is gone, must be refused.
fn another_logs_start(call: &Call<'_>, found: &mut Finder) {
    if let Some(message) = call.messages().next() {
        found.on(call, message.index, "a position of another log was accepted");
    }
    if let Some((event, ended)) = call.ended().filter(|(_, ended)| ended.code == "OK") {
        found.on(call, event, format!("a position of another log ended the call {}", ended.code));
    }
}

pub(super) fn authored(view: &View<'_>, found: &mut Finder) {
    let users = &view.history.run.users;
    for call in view.readers().into_values().flatten() {
        for (event, post) in call.delivered() {
            let name = users.get(&post.user_id).map_or("", String::as_str);
            if post.author != name {
                let why = format!("{} is by {name:?}, not {:?}", post.sequence, post.author);
                found.on(call, event, why);
            }
        }
    }
}
