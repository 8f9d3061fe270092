//! From a target to addresses, again and again.
//!
//! A list never changes. A name is looked up when somebody asks again, which a failed connection does, but at most every
//! 30 s, so that a crowd of failing clients does not become the DNS server's problem too; a lookup that failed is repeated
//! with a growing delay. A file is read every second.
//!
//! Not here: the rest of DNS. Service configs in TXT records and SRV records are for a future that gRPC itself left
//! behind.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::lookup_host,
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    backoff::Exponential,
    dial::Address,
    target::{Place, address},
};

/// The least time from one lookup that worked to the next: grpc-go's.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);
/// How soon a change of a file is noticed.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// What a lookup came to. Without addresses it failed, too.
pub(crate) type Resolved = io::Result<Vec<Address>>;

/// Sends the addresses of `place`, and again when they may have changed, for as long as somebody listens.
pub(crate) async fn resolve(place: Place, again: Arc<Notify>, resolved: mpsc::Sender<Resolved>) {
    match place {
        // The listener may be gone already.
        Place::These(addresses) => drop(resolved.send(Ok(addresses)).await),
        Place::Dns { host, port } => look_up(&host, port, &again, &resolved).await,
        Place::File(path) => watch(&path, &resolved).await,
    }
}

async fn look_up(host: &str, port: u16, again: &Notify, resolved: &mpsc::Sender<Resolved>) {
    let mut backoff = Exponential::connection();
    loop {
        let found = lookup_host((host, port)).await;
        let looked_up = Instant::now();
        let found = found.map(|addresses| addresses.map(Address::Tcp).collect());
        let failed = found.is_err();
        if resolved.send(found).await.is_err() {
            return;
        }
        if failed {
            sleep(backoff.next_delay()).await;
        } else {
            backoff.reset();
            again.notified().await;
            sleep_until(looked_up + LOOKUP_INTERVAL).await;
        }
    }
}

async fn watch(path: &Path, resolved: &mpsc::Sender<Resolved>) {
    let mut known = None;
    loop {
        let path = path.to_owned();
        let read = spawn_blocking(move || std::fs::read_to_string(path)).await;
        let read = read.map_err(io::Error::other).and_then(|read| read);
        let found = read.map(|text| addresses(&text)).and_then(|addresses| addresses);
        // An error is told again and again: it is news until it is repaired.
        if found.is_err() || known.as_ref() != found.as_ref().ok() {
            known = found.as_ref().ok().cloned();
            if resolved.send(found).await.is_err() {
                return;
            }
        }
        sleep(FILE_INTERVAL).await;
    }
}

/// One address a line; what follows a # is a comment.
fn addresses(text: &str) -> Resolved {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let parse = |line: &str| {
        let problem = || format!("{line:?} is not IP:PORT or unix:PATH");
        address(line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, problem()))
    };
    lines.filter(|line| !line.is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    fn start(place: Place) -> (mpsc::Receiver<Resolved>, Arc<Notify>, tokio::task::JoinSet<()>) {
        let (sender, resolved) = mpsc::channel(1);
        let again = Arc::new(Notify::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(resolve(place, again.clone(), sender));
        (resolved, again, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_again_when_asked_but_not_within_thirty_seconds() {
        let local = Place::Dns { host: "127.0.0.1".into(), port: 7 };
        let (mut resolved, again, _tasks) = start(local);
        assert_eq!(resolved.recv().await.unwrap().unwrap(), [tcp("127.0.0.1:7")]);
        let first = Instant::now();
        again.notify_one();
        assert_eq!(resolved.recv().await.unwrap().unwrap(), [tcp("127.0.0.1:7")]);
        assert!(first.elapsed() >= LOOKUP_INTERVAL, "{:?}", first.elapsed());
        tokio::time::timeout(LOOKUP_INTERVAL * 10, resolved.recv())
            .await
            .expect_err("nobody asked");
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers");
        std::fs::write(&path, "127.0.0.1:1 # the first\n\n# none\nunix:/run/s\n").unwrap();
        let (mut resolved, _again, _tasks) = start(Place::File(path.clone()));
        let found = resolved.recv().await.unwrap().unwrap();
        assert_eq!(found, [tcp("127.0.0.1:1"), Address::Unix("/run/s".into())]);
        std::fs::write(&path, "127.0.0.1:2").unwrap();
        assert_eq!(resolved.recv().await.unwrap().unwrap(), [tcp("127.0.0.1:2")]);
        std::fs::write(&path, "localhost").unwrap();
        let error = resolved.recv().await.unwrap().unwrap_err().to_string();
        assert!(error.contains("localhost"), "{error}");
    }
}
