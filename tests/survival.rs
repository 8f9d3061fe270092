//! Clients that survive: load from all four RPC kinds over three servers of one log, which are
//! restarted one after another.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_stream::stream;
use futures::{StreamExt as _, stream::iter};
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsResponse, post_service_client::PostServiceClient,
};
use quartet_client::{
    Channel, FeedEvent, FeedRequest, FeedStart, ListEvent, UploadEvent, list_posts, tag_feed,
    upload_posts,
};
use quartet_log::{MemoryLog, PostLog};
use quartet_server::{
    server::{Server, ServerError},
    settings::Settings,
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    TestServer, follow,
    order::{Received, check, check_writers_order},
    post, read_log, soon,
};

const SERVERS: usize = 3;
const ROUNDS: usize = 20;
/// The drain timeout of a server that waits for its calls; every other server does not wait.
const PATIENT: Duration = Duration::from_secs(1);

/// Every method may be retried here: reads change nothing, and a post is stored once, however often
/// it is sent.
const CONFIG: &str = r#"{
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": [{}],
        "waitForReady": true,
        "retryPolicy": {
            "maxAttempts": 5,
            "initialBackoff": "0.05s",
            "maxBackoff": "0.5s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"]
        }
    }]
}"#;

/// One of several servers of the same log, at its own address.
struct Replica {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServerError>>,
}

impl Replica {
    /// `drain_timeout`: how long it waits for its calls when it stops.
    async fn start(
        address: SocketAddr,
        log: Arc<dyn PostLog>,
        users: Channel,
        drain_timeout: Duration,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = Settings::default();
        settings.connections.drain_timeout = drain_timeout;
        let server = Server::of_posts(log, users, SystemTime::now, settings);
        let stop = CancellationToken::new();
        let served = tokio::spawn(server.serve(listener, stop.clone().cancelled_owned()));
        Self { address, stop, served }
    }

    async fn stop(self) -> SocketAddr {
        self.stop.cancel();
        soon(self.served).await.unwrap().unwrap();
        self.address
    }
}

/// Completed operations of each kind.
#[derive(Debug, Default)]
struct Progress([AtomicU64; 4]);

impl Progress {
    fn made(&self, kind: usize) {
        self.0[kind].fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|kind| self.0[kind].load(Ordering::Relaxed))
    }

    /// Waits until every kind has made progress.
    async fn every_kind_advances(&self) {
        let before = self.now();
        let moved = async {
            while self.now().iter().zip(before).any(|(now, before)| *now < before + 2) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(Duration::from_secs(20), moved).await.is_err() {
            panic!("{before:?} has become {:?}", self.now());
        }
    }
}

async fn unary(channel: Channel, progress: Arc<Progress>, stop: CancellationToken) {
    let mut client = PostServiceClient::new(channel);
    while !stop.is_cancelled() {
        let request = ListPostsByUserIdRequest { user_id: "1".to_owned(), resume_after: None };
        client.list_posts_by_user_id(request).await.expect("no error reaches a caller");
        progress.made(0);
        sleep(Duration::from_millis(2)).await;
    }
}

/// Follows the whole log. Returns the posts of all batches.
async fn follower(
    channel: Channel,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Vec<ListPostsResponse> {
    let mut events = Box::pin(list_posts(channel, follow()).take_until(stop.cancelled_owned()));
    let mut batches = Vec::new();
    while let Some(event) = events.next().await {
        if let ListEvent::Batch(batch) = event.expect("no error reaches a caller") {
            progress.made(1);
            batches.push(batch);
        }
    }
    batches
}

/// Uploads twenty posts at a time. Returns how many posts there were.
async fn uploader(channel: Channel, progress: Arc<Progress>, stop: CancellationToken) -> usize {
    const POSTS: usize = 20;
    let mut uploads = 0;
    while !stop.is_cancelled() {
        let posts = (uploads * POSTS..(uploads + 1) * POSTS)
            .map(|number| Ok(post(format!("upload-{number}"), &["a"])));
        let posts: Vec<_> = posts.collect::<Result<_, std::io::Error>>().unwrap();
        let open = move || iter(posts.clone()).map(Ok).boxed();
        let mut events = Box::pin(upload_posts(channel.clone(), open));
        while let Some(event) = events.next().await {
            if let UploadEvent::Done(answer) = event.expect("no error reaches a caller") {
                assert!(answer.complete && answer.created_count + answer.duplicate_count == 20);
            }
        }
        uploads += 1;
        progress.made(2);
    }
    uploads * POSTS
}

/// Publishes until stopped, and reads the posts of all publishers. Returns its receipts and the
/// posts it read.
async fn talker(
    channel: Channel,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> (Vec<String>, Vec<i64>) {
    let requests = stream! {
        yield FeedRequest::Join { tags: vec![], all_tags: true };
        for number in 0.. {
            if stop.is_cancelled() {
                return;
            }
            yield FeedRequest::Publish(post(format!("feed-{number}"), &["a"]));
            sleep(Duration::from_millis(2)).await;
        }
    };
    let (mut receipts, mut read) = (Vec::new(), Vec::new());
    let mut events = Box::pin(tag_feed(channel, FeedStart::Oldest, requests));
    while let Some(event) = events.next().await {
        match event.expect("no error reaches a caller") {
            FeedEvent::Receipt(receipt) => {
                assert_eq!(receipt.status, None);
                receipts.push(receipt.post_id);
                progress.made(3);
            }
            FeedEvent::Posts(batch) => {
                read.extend(batch.post_messages.iter().map(|post| post.sequence))
            }
            _ => {}
        }
    }
    (receipts, read)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_causes_no_error_and_loses_no_post() {
    let users = TestServer::start().await;
    let log: Arc<dyn PostLog> = Arc::new(MemoryLog::new());
    let mut replicas = Vec::new();
    for _ in 0..SERVERS {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        replicas.push(Replica::start(any, log.clone(), users.channel(), PATIENT).await);
    }
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address.to_string()).collect();
    let target = format!("ipv4:{}", addresses.join(",")).parse().unwrap();
    let channel = Channel::builder(target).service_config(CONFIG.parse().unwrap()).build();

    let (progress, stop, read) =
        (Arc::new(Progress::default()), CancellationToken::new(), CancellationToken::new());
    let with = |stop: &CancellationToken| (channel.clone(), progress.clone(), stop.clone());
    let (c, p, s) = with(&stop);
    let pages = tokio::spawn(unary(c, p, s));
    let (c, p, s) = with(&read);
    let following = tokio::spawn(follower(c, p, s));
    let (c, p, s) = with(&stop);
    let uploading = tokio::spawn(uploader(c, p, s));
    let (c, p, s) = with(&stop);
    let talking = tokio::spawn(talker(c, p, s));

    for round in 0..ROUNDS {
        let address = replicas.remove(0).stop().await;
        progress.every_kind_advances().await; // with one of three servers down
        let drain_timeout = if round % 2 == 0 { Duration::ZERO } else { PATIENT };
        replicas.push(Replica::start(address, log.clone(), users.channel(), drain_timeout).await);
        progress.every_kind_advances().await;
    }

    stop.cancel();
    soon(pages).await.unwrap();
    let uploaded = soon(uploading).await.unwrap();
    let (receipts, read_by_feed) = soon(talking).await.unwrap();
    let stored = read_log(&mut PostServiceClient::new(channel.clone())).await;
    sleep(Duration::from_millis(100)).await;
    read.cancel();
    let followed = soon(following).await.unwrap();

    assert_eq!(stored.len(), uploaded + receipts.len(), "each post once");
    let followed = Received::list(&follow(), &followed);
    assert_eq!(followed.sequences().len(), stored.len());
    check(&stored, &[followed]).unwrap();
    check_writers_order(&stored).unwrap();
    let in_order: Vec<_> = (1..=i64::try_from(read_by_feed.len()).unwrap()).collect();
    assert_eq!(read_by_feed, in_order, "the feed has every post once, up to its end");
    let sent: Vec<_> = (0..receipts.len()).map(|number| format!("feed-{number}")).collect();
    assert_eq!(receipts, sent, "one receipt for each post, in their order");
    for replica in replicas {
        replica.stop().await;
    }
    users.stop().await;
}
