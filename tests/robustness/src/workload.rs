//! Clients of every kind, at random: they write, read, join, leave, stall, hang up and resume, and
//! write all of it down.
//!
//! Some are plain calls of the generated client, so that the record holds what was on the wire;
//! some are the client library's, which is under test as much as the server is. What a client does
//! comes from its seed and its name alone.
//!
//! Once the setting is calm, nobody hangs up, stalls or begins to write any more: what is open goes
//! on.

use futures::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};

pub use posts::users;
pub use setting::Setting;

mod feeds;
mod lists;
mod posts;
mod setting;
mod uploads;

/// Clients that write and do not read: uploads that finish, break off and are repeated.
pub fn writers(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        uploads::uploader(setting(), "uploader").boxed_local(),
        uploads::uploader(setting(), "uploader-2").boxed_local(),
        uploads::rival(setting(), "rival").boxed_local(),
    ]
}

/// Clients that read, and that publish what they read about.
pub fn readers(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        lists::follower(setting(), "follower").boxed_local(),
        lists::plain_follower(setting(), "plain-follower").boxed_local(),
        lists::plain_follower(setting(), "plain-follower-2").boxed_local(),
        lists::snapshots(setting(), "snapshot").boxed_local(),
        lists::pages(setting(), "page").boxed_local(),
        lists::stranger(setting(), "stranger").boxed_local(),
    ]
}

/// Clients that do both on one stream.
pub fn feeds(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        feeds::feed(setting(), "feed").boxed_local(),
        feeds::plain_feed(setting(), "plain-feed").boxed_local(),
        feeds::plain_feed(setting(), "plain-feed-2").boxed_local(),
    ]
}

/// Lets clients do what they do, until all have ended; those that read never do.
pub async fn run(clients: Vec<LocalBoxFuture<'static, ()>>) {
    let mut clients: FuturesUnordered<_> = clients.into_iter().collect();
    while clients.next().await.is_some() {}
}
