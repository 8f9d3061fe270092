//! Clients of every kind with random behaviour: they write, read, join, leave, stall, hang up and
//! resume, and record all of it.
//!
//! Some make plain calls of the generated client, so that the record holds what was on the wire;
//! others use the client library, which is under test like the server. What a client does depends
//! only on its seed and its name.
//!
//! Once the setting is calm, clients no longer hang up, stall or begin to write; open calls
//! continue.

use futures::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};

mod setting;

mod feeds;
mod lists;
mod uploads;

pub(crate) use setting::posts;
pub use setting::{Setting, users};

/// Clients that only write: uploads that finish, break off and are repeated.
pub fn writers(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        uploads::uploader(setting(), "uploader").boxed_local(),
        uploads::uploader(setting(), "uploader-2").boxed_local(),
        uploads::rival(setting(), "rival").boxed_local(),
    ]
}

/// Clients that only read.
pub fn readers(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        lists::returning(setting(), "returning").boxed_local(),
        lists::follower(setting(), "follower").boxed_local(),
        lists::plain_follower(setting(), "plain-follower").boxed_local(),
        lists::plain_follower(setting(), "plain-follower-2").boxed_local(),
        lists::snapshots(setting(), "snapshot").boxed_local(),
        lists::pages(setting(), "page").boxed_local(),
        lists::stranger(setting(), "stranger").boxed_local(),
    ]
}

/// Clients that read and write on one stream.
pub fn feeds(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        feeds::feed(setting(), "feed").boxed_local(),
        feeds::plain_feed(setting(), "plain-feed").boxed_local(),
        feeds::plain_feed(setting(), "plain-feed-2").boxed_local(),
    ]
}

/// Clients of the library, which resume by themselves, and uploads.
pub fn resuming(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        uploads::uploader(setting(), "uploader").boxed_local(),
        uploads::rival(setting(), "rival").boxed_local(),
        lists::follower(setting(), "follower").boxed_local(),
        lists::follower(setting(), "follower-2").boxed_local(),
        lists::snapshots(setting(), "snapshot").boxed_local(),
        lists::pages(setting(), "page").boxed_local(),
        feeds::feed(setting(), "feed").boxed_local(),
        feeds::feed(setting(), "feed-2").boxed_local(),
    ]
}

/// Runs clients until all have ended; readers never end.
pub async fn run(clients: Vec<LocalBoxFuture<'static, ()>>) {
    let mut clients: FuturesUnordered<_> = clients.into_iter().collect();
    while clients.next().await.is_some() {}
}
