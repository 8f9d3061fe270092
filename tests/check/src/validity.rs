//! Whether a run was worth checking.

use crate::{
    history::{Event, History, Outcome, What},
    view::View,
};

/// Why this run proves nothing, whatever [`check`](crate::check) finds; `None` if it counts.
pub fn void(history: &History) -> Option<String> {
    let History { run, events, .. } = history;
    let view = View::new(history);
    for (kind, fault) in &run.faults {
        if fault.fired < fault.armed {
            return Some(format!("{} of {} faults fired: {kind}", fault.fired, fault.armed));
        }
    }
    let known = view.calls.len() + view.calls.iter().map(|call| call.events.len()).sum::<usize>();
    if known != events.len() {
        return Some("an event belongs to a call that was never opened".to_owned());
    }
    if let (Some(calm), Some(last)) = (run.calm_from, events.last())
        && last.at < calm
    {
        return Some("nothing happened after the last fault".to_owned());
    }
    let bookmarks = events.iter().filter(|event| is_bookmark(&event.what)).count() as u64;
    let delivered = view.calls.iter().map(|call| call.delivered().count() as u64).sum();
    let floor = run.floor;
    let too_few = [
        ("posts acknowledged", acknowledged(events), floor.acknowledged),
        ("posts delivered", delivered, floor.delivered),
        ("bookmarks", bookmarks, floor.bookmarks),
        ("resumed calls", resumed(&view), floor.resumed),
        ("faults", run.faults.values().map(|fault| fault.fired).sum(), floor.faults),
    ];
    let too_few = too_few.into_iter().find(|(_, actual, least)| actual < least);
    too_few.map(|(what, actual, least)| format!("{actual} {what}, at least {least} are required"))
}

fn acknowledged(events: &[Event]) -> u64 {
    let posts = events.iter().map(|event| match &event.what {
        What::Receipt { outcome: Outcome::Created { .. } | Outcome::Duplicate { .. }, .. } => 1,
        What::Uploaded(answer) => answer.created + answer.duplicates,
        _ => 0,
    });
    posts.sum()
}

fn is_bookmark(what: &What) -> bool {
    match what {
        What::Posts { posts, .. } => posts.is_empty(),
        what => matches!(what, What::Bookmark { .. }),
    }
}

/// Calls of readers that continued an earlier call of theirs in this log.
fn resumed(view: &View<'_>) -> u64 {
    let again = view.readers().into_values().flat_map(|calls| calls.into_iter().skip(1));
    let resumed = again.filter(|call| {
        let after = call.opened.after.as_ref();
        after.is_some_and(|after| after.sequence > 0 && after.log_id == view.history.run.log_id)
    });
    resumed.count() as u64
}
