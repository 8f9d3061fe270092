//! Whether the promises hold behind a proxy while its server stops, dies, or ends connections.

use std::{
    collections::BTreeMap,
    error::Error,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use quartet::limits::SILENCE;
use quartet_check::{
    History, check,
    history::{FaultCount, Floor, Run, What},
    promises::CATCH_UP,
};
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

pub(super) const ALL: [Case; 2] = [
    Case::new("two restarts", |site| judged(site, Trouble::Restarts).boxed_local()),
    Case::new("connections of 5 s", |site| judged(site, Trouble::MaxAge).boxed_local()),
];

/// What the server does to its calls.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// It is stopped, then killed, and is down for [`DOWN`] each time.
    Restarts,
    /// It ends each connection after 5 s, and calls that are still open a second later.
    MaxAge,
}

/// How long the server is down.
const DOWN: Duration = Duration::from_secs(3);
/// How long clients work before and after each trouble.
const WORK: Duration = Duration::from_secs(6);

/// Lets clients of every kind write and read through the trouble. The order checker judges what
/// they saw.
async fn judged(mut site: Site, trouble: Trouble) -> Verdict {
    let begun = Instant::now();
    let recorder = Recorder::new(move || begun.elapsed());
    let calm = CancellationToken::new();
    let setting = Setting {
        seed: rand::random(),
        recorder: recorder.clone(),
        connect: site.connect(),
        calm: calm.clone(),
        before: Arc::default(),
    };
    let seed = setting.seed;
    let mut clients = pin!(workload::run(workload::resuming(&setting)));
    let calm_from = tokio::select! {
        biased;
        calm_from = play(&mut site, trouble, &recorder, &calm, begun) => calm_from?,
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
        faults: BTreeMap::from([(format!("{trouble:?}"), FaultCount { armed: 2, fired: 2 })]),
        calm_from: Some(calm_from),
        floor: Floor { acknowledged: 50, delivered: 100, bookmarks: 1, resumed: 2, faults: 2 },
    };
    let log = stored::posts(&log).await.map_err(words)?;
    judge(&History { run, events: recorder.events(), log })
}

/// The trouble, then a calm time. Returns when the calm began, in microseconds.
async fn play(
    site: &mut Site,
    trouble: Trouble,
    recorder: &Recorder,
    calm: &CancellationToken,
    begun: Instant,
) -> Result<u64, String> {
    trouble.make(site).await.map_err(words)?;
    // Behind some proxies a feed learns only from silence that its server has ended it.
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

impl Trouble {
    async fn make(self, site: &mut Site) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Restarts => {
                sleep(WORK).await;
                site.stop_server().await?;
                sleep(DOWN).await;
                site.start_server(&[]).await?;
                sleep(WORK).await;
                site.kill_server().await?;
                sleep(DOWN).await;
            }
            Self::MaxAge => {
                site.stop_server().await?;
                let age = ["--max-connection-age=5s", "--max-connection-age-grace=1s"];
                site.start_server(&age).await?;
                sleep(3 * WORK).await;
                site.stop_server().await?;
            }
        }
        site.start_server(&[]).await
    }
}

fn judge(history: &History) -> Verdict {
    let broken = check(history);
    if let Some(first) = broken.first() {
        return Err(format!("{} promises broken: {first}", broken.len()));
    }
    match quartet_check::void(history) {
        Some(why) => Err(format!("the run proves nothing: {why}")),
        None => Ok(format!("{} posts, {}", history.log.len(), endings(history))),
    }
}

/// How calls ended that were neither complete nor given up, with their number.
fn endings(history: &History) -> String {
    let ended = history.events.iter().filter_map(|event| match &event.what {
        What::Ended(ended) => Some(ended),
        _ => None,
    });
    let mut counts = BTreeMap::<&str, usize>::new();
    for ended in ended.filter(|ended| !matches!(&*ended.code, "OK" | "LEFT")) {
        let why = if ended.reason.is_empty() { &ended.code } else { &ended.reason };
        *counts.entry(why).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(why, count)| format!("{why} {count}")).collect();
    counts.join(", ")
}
