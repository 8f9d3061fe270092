//! What becomes of what was written: it stays, once, in order.

use std::collections::{BTreeMap, BTreeSet};

use super::finder::Finder;
use crate::{
    history::{Outcome, Post, Rpc},
    view::{Call, Index, View},
};

pub(super) fn durable(view: &View<'_>, found: &mut Finder) {
    for call in &view.calls {
        delivered_is_stored(view, call, found);
        for (event, post_id, outcome) in call.receipts() {
            if let Outcome::Created { sequence } | Outcome::Duplicate { sequence } = outcome {
                let stored = view.at(*sequence).is_some_and(|post| post.post_id == post_id);
                if !stored {
                    let why = format!("{post_id} was acknowledged at {sequence} and is not there");
                    found.on(call, event, why);
                }
            }
        }
        for post in accepted(call) {
            if view.place(post).is_none() {
                let event = call.uploaded().map_or(call.begun, |(event, _)| event);
                found.on(call, event, format!("{} was accepted and is not there", post.post_id));
            }
        }
    }
}

fn delivered_is_stored(view: &View<'_>, call: &Call<'_>, found: &mut Finder) {
    for message in call.messages() {
        for post in message.posts {
            match view.at(post.sequence) {
                None => {
                    let why = format!("{} was delivered and is not in the log", post.sequence);
                    found.on(call, message.index, why);
                }
                Some(stored) if !stored.is_same(post) => {
                    let why = format!("{} was delivered as {}", post.sequence, post.post_id);
                    found.on(call, message.index, why + ", unlike the log");
                }
                Some(_) => {}
            }
        }
        let (position, end) = (message.position.sequence, view.history.log.len());
        if position > end as i64 {
            let why = format!("position {position} of a log that ends at {end}");
            found.on(call, message.index, why);
        }
    }
}

/// The posts that an upload's answer vouches for. It names only its first refusals, so that more of
/// them leave open which posts they were.
pub(super) fn accepted<'a>(call: &Call<'a>) -> Vec<&'a Post> {
    let Some((_, answer)) = call.uploaded() else { return Vec::new() };
    if answer.refused != answer.refusals.len() as u64 {
        return Vec::new();
    }
    let refused: BTreeSet<u64> = answer.refusals.iter().map(|(index, _)| *index).collect();
    let received = (answer.created + answer.duplicates + answer.refused) as usize;
    let sent = call.sent().take(received).enumerate();
    sent.filter(|(index, _)| !refused.contains(&(*index as u64)))
        .map(|(_, (_, post))| post)
        .collect()
}

pub(super) fn exactly_once(view: &View<'_>, found: &mut Finder) {
    let mut sent: BTreeMap<&str, Vec<&Post>> = BTreeMap::new();
    for (_, post) in view.calls.iter().flat_map(Call::sent) {
        sent.entry(&post.post_id).or_default().push(post);
    }
    let mut ids = BTreeSet::new();
    for (post, sequence) in view.history.log.iter().zip(1..) {
        if post.sequence != sequence {
            found.in_log(format!("{} stands where {sequence} belongs", post.sequence));
        }
        if !ids.insert(&post.post_id) {
            found.in_log(format!("{} is stored twice", post.post_id));
        }
        let tries = sent.get(post.post_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        if !tries.iter().any(|sent| sent.is_same(post)) {
            found.in_log(format!("{sequence}, {}, was never sent like this", post.post_id));
        }
    }
    created_once(view, found);
}

/// What is told as created was not there before it was sent, and is told so once.
fn created_once(view: &View<'_>, found: &mut Finder) {
    let acknowledged = first_acknowledged(view);
    let is_new =
        |sent: Index, post: &Post| acknowledged.get(&*post.post_id).is_none_or(|told| *told > sent);
    let mut created = BTreeSet::new();
    let mut uploaded = 0;
    for call in &view.calls {
        for (event, post_id, outcome) in call.receipts() {
            if !matches!(outcome, Outcome::Created { .. }) {
                continue;
            }
            let sent = call.sent().find(|(_, post)| post.post_id == post_id);
            if !created.insert(post_id) || sent.is_some_and(|(sent, post)| !is_new(sent, post)) {
                found.on(call, event, format!("{post_id} was created twice"));
            }
        }
        if let Some((event, answer)) = call.uploaded() {
            let new = call.sent().filter(|(sent, post)| is_new(*sent, post));
            let new = new.map(|(_, post)| &post.post_id).collect::<BTreeSet<_>>().len();
            if answer.created > new as u64 {
                let why = format!("{} were told as created, {new} were new", answer.created);
                found.on(call, event, why);
            }
            uploaded += if accepted(call).is_empty() { 0 } else { answer.created };
        }
    }
    // Not how many are stored: a post that was lost was created once all the same.
    let (told, ids) = (uploaded + created.len() as u64, acknowledged.len() as u64);
    if told > ids {
        found.in_log(format!("{told} posts were told as created, with {ids} ids"));
    }
}

/// When each id was first told as created or found again.
fn first_acknowledged<'a>(view: &View<'a>) -> BTreeMap<&'a str, Index> {
    let mut first = BTreeMap::new();
    let mut told = |post_id: &'a str, event: Index| {
        let first = first.entry(post_id).or_insert(event);
        *first = event.min(*first);
    };
    for call in &view.calls {
        for (event, post_id, outcome) in call.receipts() {
            if !matches!(outcome, Outcome::Refused { .. }) {
                told(post_id, event);
            }
        }
        if let Some((event, _)) = call.uploaded() {
            accepted(call).iter().for_each(|post| told(&post.post_id, event));
        }
    }
    first
}

pub(super) fn writers_order(view: &View<'_>, found: &mut Finder) {
    let mut senders: BTreeMap<&str, BTreeSet<(&str, u32)>> = BTreeMap::new();
    for call in &view.calls {
        for (_, post) in call.sent() {
            senders.entry(&post.post_id).or_default().insert((call.client, call.number));
        }
    }
    for call in &view.calls {
        let created: BTreeSet<&str> = call
            .receipts()
            .filter(|(_, _, outcome)| matches!(outcome, Outcome::Created { .. }))
            .map(|(_, post_id, _)| post_id)
            .collect();
        // Who else could have stored it? Without receipts, only a post that nobody else sent is
        // surely this call's.
        let is_new = |post: &Post| match call.opened.rpc {
            Rpc::Feed => created.contains(post.post_id.as_str()),
            _ => senders.get(post.post_id.as_str()).is_some_and(|senders| senders.len() == 1),
        };
        let mut newest: Option<&Post> = None;
        for (event, post) in call.sent() {
            let Some(stored) = view.stored.get(post.post_id.as_str()) else { continue };
            if let Some(before) = newest
                && is_new(post)
                && stored.sequence < before.sequence
            {
                let why = format!("{} overtook {}", post.post_id, before.post_id);
                found.on(call, event, why);
            }
            if stored.is_same(post) && newest.is_none_or(|newest| newest.sequence < stored.sequence)
            {
                newest = Some(stored);
            }
        }
    }
}
