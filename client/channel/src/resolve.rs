//! Resolves a target to addresses, repeatedly.
//!
//! A fixed list never changes. A name is looked up again on request, which the balancer makes after
//! a failed connection, but at most every 30 s, so that many failing clients do not overload the
//! DNS server as well; a failed lookup is repeated with backoff. A file is read every second.
//!
//! Not here: service configs in TXT records, and SRV records, both of which gRPC has abandoned.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::lookup_host,
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use crate::{address::Address, backoff::Exponential, target::AddressSource};

/// Shortest time from one successful lookup to the next: grpc-go's.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);
/// How often a file is read.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// The result of a lookup. An empty list counts as a failure.
pub(crate) type Resolved = io::Result<Vec<Address>>;

/// Sends the addresses of `source`, and sends them again when they may have changed, until the
/// receiver is dropped. `again` requests another lookup.
pub(crate) async fn resolve(
    source: AddressSource,
    again: Arc<Notify>,
    resolved: mpsc::Sender<Resolved>,
) {
    match source {
        // An error means that the receiver is gone: nothing is left to do.
        AddressSource::Fixed(addresses) => drop(resolved.send(Ok(addresses)).await),
        AddressSource::Dns { host, port } => look_up(&host, port, &again, &resolved).await,
        AddressSource::File(path) => watch(&path, &resolved).await,
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
        // An error is sent every time, so that calls report it until it is repaired.
        if found.is_err() || known.as_ref() != found.as_ref().ok() {
            known = found.as_ref().ok().cloned();
            if resolved.send(found).await.is_err() {
                return;
            }
        }
        sleep(FILE_INTERVAL).await;
    }
}

/// The addresses of a file: one a line, with comments after `#`.
fn addresses(text: &str) -> Resolved {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let parse = |line: &str| {
        Address::parse(line).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))
    };
    lines.filter(|line| !line.is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().unwrap())
    }

    fn start(
        source: AddressSource,
    ) -> (mpsc::Receiver<Resolved>, Arc<Notify>, tokio::task::JoinSet<()>) {
        let (sender, resolved) = mpsc::channel(1);
        let again = Arc::new(Notify::new());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(resolve(source, again.clone(), sender));
        (resolved, again, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_again_on_request_but_not_within_thirty_seconds() {
        let local = AddressSource::Dns { host: "127.0.0.1".into(), port: 7 };
        let (mut resolved, again, _tasks) = start(local);
        assert_eq!(resolved.recv().await.unwrap().unwrap(), [tcp("127.0.0.1:7")]);
        let first = Instant::now();
        again.notify_one();
        assert_eq!(resolved.recv().await.unwrap().unwrap(), [tcp("127.0.0.1:7")]);
        assert!(first.elapsed() >= LOOKUP_INTERVAL, "{:?}", first.elapsed());
        tokio::time::timeout(LOOKUP_INTERVAL * 10, resolved.recv())
            .await
            .expect_err("no lookup was requested");
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers");
        std::fs::write(&path, "127.0.0.1:1 # the first\n\n# none\nunix:/run/s\n").unwrap();
        let (mut resolved, _again, _tasks) = start(AddressSource::File(path.clone()));
        let found = resolved.recv().await.unwrap().unwrap();
        assert_eq!(found, [tcp("127.0.0.1:1"), Address::Unix("/run/s".into())]);
        std::fs::write(&path, "127.0.0.1:2").unwrap();
        assert_eq!(resolved.recv().await.unwrap().unwrap(), [tcp("127.0.0.1:2")]);
        std::fs::write(&path, "localhost").unwrap();
        let error = resolved.recv().await.unwrap().unwrap_err().to_string();
        assert!(error.contains("localhost"), "{error}");
    }
}
