//! What is promised about before and after.

use std::{collections::BTreeMap, time::Duration};

use super::finder::Finder;
use crate::{
    history::{Follows, Opened, Outcome, Rpc, What},
    view::{Call, Index, View},
};

pub(super) fn real_time(view: &View<'_>, found: &mut Finder) {
    let acknowledged = view.acknowledged();
    let mut first: BTreeMap<&str, (Index, &Call<'_>)> = BTreeMap::new();
    for call in &view.calls {
        for (event, post) in call.sent() {
            let known = first.entry(&post.post_id).or_insert((event, call));
            if event < known.0 {
                *known = (event, call);
            }
        }
    }
    for (post_id, (event, call)) in first {
        let Some(stored) = view.stored.get(post_id) else { continue };
        let before = acknowledged[event];
        if stored.sequence <= before {
            let why = format!("{post_id} stands at {}", stored.sequence);
            found.on(
                call,
                event,
                format!("{why}, and {before} was acknowledged before it was sent"),
            );
        }
    }
}

pub(super) fn fresh(view: &View<'_>, found: &mut Finder) {
    let acknowledged = view.acknowledged();
    for call in view.readers().into_values().flatten() {
        let owed = acknowledged[call.begun];
        let mut complete = call.messages().filter(|message| message.complete);
        if let Some(message) = complete.next().filter(|message| message.position.sequence < owed) {
            let position = message.position.sequence;
            let why = format!("it was up to date at {position}, and {owed} was acknowledged");
            found.on(call, message.index, why);
        }
        half_closed_feed_has_its_own(call, found);
    }
}

/// A feed that ended well got everything up to its own last post.
fn half_closed_feed_has_its_own(call: &Call<'_>, found: &mut Finder) {
    let Some((event, _)) = call.ended().filter(|(_, ended)| ended.code == "OK") else { return };
    let own = call.receipts().map(|(_, _, outcome)| match outcome {
        Outcome::Created { sequence } | Outcome::Duplicate { sequence } => *sequence,
        Outcome::Refused { .. } => 0,
    });
    let own = own.max().unwrap_or(0);
    // One that follows nothing in the end stands where it left.
    let follows = call.in_force().last().is_some_and(|now| !now.follows.is_nothing());
    if let Some(position) = call.position().filter(|position| follows && *position < own) {
        found.on(call, event, format!("it ended at {position}, its own post stands at {own}"));
    }
}

/// How long readers may take to catch up.
pub const CATCH_UP: Duration = Duration::from_secs(30);
/// How long a client that had stopped reading may take to begin again.
const WAKE_UP: Duration = Duration::from_secs(1);

/// On the clock of a history: microseconds.
fn after(begun: u64, time: Duration) -> u64 {
    begun + time.as_micros() as u64
}

pub(super) fn live(view: &View<'_>, found: &mut Finder) {
    let Some(calm) = view.history.run.calm_from else { return };
    let events = &view.history.events;
    let owed = view.acknowledged()[events.partition_point(|event| event.at < calm)];
    let deadline = events.partition_point(|event| event.at <= after(calm, CATCH_UP));
    for calls in view.readers().into_values() {
        let Some(call) = calls.iter().rfind(|call| call.begun < deadline) else { continue };
        let reads = stays(call.opened) && !follows_nothing(&calls);
        if !reads || gave_up(call, deadline) || was_paused(&calls, calm, view) {
            continue;
        }
        let reached = calls
            .iter()
            .flat_map(|call| call.messages())
            .filter(|message| message.index < deadline)
            .map(|message| message.position.sequence)
            .max();
        match reached {
            Some(reached) if reached < owed => {
                let why = format!("still at {reached} when {owed} was due");
                found.on(call, deadline.saturating_sub(1), why);
            }
            // A feed that joined nothing has no position; a list always has one.
            None if call.opened.rpc == Rpc::List && owed > 0 => {
                found.on(
                    call,
                    call.begun,
                    format!("nothing came, not even a position, up to {owed}"),
                );
            }
            _ => {}
        }
    }
}

fn stays(opened: &Opened) -> bool {
    opened.rpc == Rpc::Feed || opened.stays
}

/// Whether a feed left all that it had joined: then it reads nothing, on the calls that follow
/// either.
fn follows_nothing(calls: &[&Call<'_>]) -> bool {
    let events = calls.iter().rev().flat_map(|call| call.events.iter().rev());
    let mut changes = events.filter_map(|(_, what)| match what {
        What::Follows { follows, .. } => Some(follows),
        _ => None,
    });
    changes.next().is_some_and(Follows::is_nothing)
}

/// Whether the client ended its last call itself, or it ended well.
fn gave_up(call: &Call<'_>, deadline: Index) -> bool {
    let over = |code: &str| code == "OK" || code == "LEFT";
    call.ended().is_some_and(|(event, ended)| event < deadline && over(&ended.code))
}

/// Whether the client did not read for some of the time that counts.
fn was_paused(calls: &[&Call<'_>], calm: u64, view: &View<'_>) -> bool {
    let mut paused = false;
    for (index, what) in calls.iter().flat_map(|call| &call.events) {
        match what {
            What::Paused => paused = true,
            What::Unpaused if view.history.events[*index].at > after(calm, WAKE_UP) => {
                return true;
            }
            What::Unpaused => paused = false,
            _ => {}
        }
    }
    paused
}
