//! Runs behind real reverse proxies: every kind of call, and what happens when the server restarts.
//!
//! The proxies run with the configurations of `docs/proxies`, in which only the ports are replaced.
//! Each case gets a site of its own, a server and a proxy before it, so that what takes
//! long happens side by side.
//!
//! All clients run on one thread, and nothing else does, so that the order of the record is sound.

use std::{fmt, path::Path};

use futures::{FutureExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::time::{Duration, timeout};

use case::{Case, words};
use site::Site;

mod case;
mod cases;
mod kind;
mod promises;
mod site;

pub use case::Verdict;
pub use kind::Kind;
pub use site::Places;

/// Longer than the longest case takes, which waits for 75 s.
const PATIENCE: Duration = Duration::from_secs(180);

/// The verdict of one case behind one proxy.
#[derive(Debug)]
pub struct Finding {
    /// The proxy.
    pub kind: Kind,
    /// The name of the case.
    pub case: &'static str,
    /// How it ended.
    pub verdict: Verdict,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, words) = match &self.verdict {
            Ok(words) => ("ok", words),
            Err(words) => ("FAILED", words),
        };
        write!(f, "{:<8} {:<22} {mark:<6} {words}", self.kind.name(), self.case)
    }
}

/// Runs every case whose name contains `only` behind these proxies, side by side. The findings come
/// as the cases end.
pub fn run(
    kinds: &[Kind],
    places: &Places,
    only: &str,
) -> FuturesUnordered<LocalBoxFuture<'static, Finding>> {
    let runs = kinds.iter().flat_map(|&kind| {
        let all = cases::ALL.iter().chain(&promises::ALL);
        let all = all.filter(|case| case.name.contains(only));
        all.map(move |&case| one(kind, places.clone(), case).boxed_local())
    });
    runs.collect()
}

async fn one(kind: Kind, places: Places, case: Case) -> Finding {
    let run = async {
        let site = Site::open(kind, &places, case.encrypted).await.map_err(words)?;
        (case.run)(site).await
    };
    let verdict = timeout(PATIENCE, run).await;
    let verdict = verdict.unwrap_or_else(|_| Err(format!("still busy after {PATIENCE:?}")));
    Finding { kind, case: case.name, verdict }
}

/// Whether a program can be started: it is in the folder, or on the `PATH`.
pub fn is_installed(kind: Kind, programs: &Path) -> bool {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&on_path).chain([programs.to_owned()]);
    folders.any(|folder| folder.join(kind.program()).is_file())
}
