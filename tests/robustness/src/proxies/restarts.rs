//! What lives through a restart of the server behind a proxy.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use quartet::limits::SILENCE;
use quartet_check::{
    History, check,
    history::{FaultCount, Floor, Run},
    promises::CATCH_UP,
};
use quartet_client::connect;
use quartet_log::{EmbeddedLog, LogOptions, PostLog as _, disk::Access};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    case::{Case, Verdict, words},
    site::Site,
};
use crate::{
    process::until,
    recorder::Recorder,
    stored,
    workload::{self, Setting},
};

pub(super) const ALL: [Case; 1] = [("two restarts", |site| restarts(site).boxed_local())];

/// How long the server is down.
const DOWN: Duration = Duration::from_secs(3);
/// How long clients work before, between and after the restarts.
const WORK: Duration = Duration::from_secs(6);

/// Stops the server and kills it, while clients of every kind write and read. The order checker
/// judges what they saw.
async fn restarts(mut site: Site) -> Verdict {
    let begun = Instant::now();
    let recorder = Recorder::new(move || begun.elapsed());
    let (calm, url) = (CancellationToken::new(), site.url());
    let setting = Setting {
        seed: rand::random(),
        recorder: recorder.clone(),
        connect: Arc::new(move || connect(&url).expect("invariant: it is a URL")),
        calm: calm.clone(),
    };
    let seed = setting.seed;
    let mut clients = pin!(workload::run(workload::resuming(&setting)));
    let calm_from = tokio::select! {
        biased;
        played = play(&mut site, &recorder, &calm, begun) => played?,
        () = &mut clients => return Err("the clients ended".to_owned()),
    };
    site.stop_server().await.map_err(words)?;

    let options = LogOptions { access: Access::Read, ..LogOptions::default() };
    let log = EmbeddedLog::open_directory(site.home.path().join("data"), options);
    let log = log.await.map_err(words)?;
    let run = Run {
        seed,
        log_id: log.log_id().to_owned(),
        users: workload::users(),
        faults: BTreeMap::from([("restart".to_owned(), FaultCount { armed: 2, fired: 2 })]),
        calm_from: Some(calm_from),
        floor: Floor { acknowledged: 50, delivered: 100, bookmarks: 1, resumed: 2, faults: 2 },
    };
    let log = stored::posts(&log).await.map_err(words)?;
    judge(&History { run, events: recorder.events(), log })
}

/// Two restarts, and a calm time. Returns when the calm began, in microseconds.
async fn play(
    site: &mut Site,
    recorder: &Recorder,
    calm: &CancellationToken,
    begun: Instant,
) -> Result<u64, String> {
    sleep(WORK).await;
    site.stop_server().await.map_err(words)?;
    sleep(DOWN).await;
    site.start_server().await.map_err(words)?;
    sleep(WORK).await;
    site.kill_server().await.map_err(words)?;
    sleep(DOWN).await;
    site.start_server().await.map_err(words)?;
    // Behind some proxies a feed learns only from silence that its server has gone.
    sleep(SILENCE + WORK).await;
    calm.cancel();
    let (calm_from, before) = (begun.elapsed(), recorder.progress());
    let caught_up = || {
        let now = recorder.progress();
        now.events > before.events && now.all_at(before.acknowledged)
    };
    until(CATCH_UP, caught_up).await;
    Ok(calm_from.as_micros() as u64)
}

fn judge(history: &History) -> Verdict {
    let broken = check(history);
    if let Some(first) = broken.first() {
        return Err(format!("{} promises broken: {first}", broken.len()));
    }
    match quartet_check::void(history) {
        Some(why) => Err(format!("the run proves nothing: {why}")),
        None => Ok(format!("{} events, {} posts", history.events.len(), history.log.len())),
    }
}
