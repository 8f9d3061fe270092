//! Clients that survive: load from all four kinds of call over three servers of one log, which are restarted one after another.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::{StreamExt as _, stream};
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsRequest, PostMessage, post_service_client::PostServiceClient,
};
use quartet_client::{
    Channel, Error, FeedEvent, FeedRequest, FeedStart, ListEvent, UploadEvent, list_posts, tag_feed,
    upload_posts,
};
use quartet_server::{
    config::Config,
    log::{PostLog, memory::MemoryLog},
    server::{Server, ServerError},
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    fakes::FakeUsers,
    list,
    order::{Received, check},
    post, read_log,
};

const SERVERS: usize = 3;
const ROUNDS: usize = 20;

/// Every method may be tried again here: reads change nothing, and a post is stored once, whoever takes it how often.
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
