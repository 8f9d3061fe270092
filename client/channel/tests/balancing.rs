//! Load balancing, health checking and wait-for-ready over connections: the cases of grpc-go's
//! balancer tests and of its wait-for-ready example.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use quartet_channel::Channel;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::world::{Answer::Hang, Health, World, server, unary};

const PICK_FIRST: &str = "{}";
const ROUND_ROBIN: &str = r#"{"loadBalancingConfig": [{"round_robin": {}}]}"#;
const WAITING: &str = r#"{"methodConfig": [{"name": [{}], "waitForReady": true}]}"#;
const RETRYING: &str = r#"{
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.1s",
        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
    }}]
}"#;

async fn shares(channel: &Channel, calls: usize) -> HashMap<SocketAddr, usize> {
    let mut shares = HashMap::new();
    for _ in 0..calls {
        *shares.entry(unary(channel).await.unwrap()).or_default() += 1;
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn nothing_is_connected_before_the_first_call() {
    let world = World::of(1);
    let channel = world.channel(1, PICK_FIRST);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.dials().len(), 0);
    unary(&channel).await.unwrap();
    assert_eq!(world.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pick_first_stays_with_the_first_server_that_accepts_until_it_is_gone() {
    let world = World::of(3);
    let channel = world.channel(3, PICK_FIRST);
    assert_eq!(shares(&channel, 50).await, [(server(1), 50)].into());
    world.kill(1);
    sleep(Duration::from_millis(1)).await; // the end of the connection has arrived
    assert_eq!(
        timeout(Duration::from_secs(1), shares(&channel, 50)).await.unwrap(),
        [(server(2), 50)].into()
    );
    world.start(1);
    assert_eq!(shares(&channel, 10).await, [(server(2), 10)].into(), "it does not move back");
}

#[tokio::test(start_paused = true)]
async fn shares_of_ten_thousand_calls_differ_by_at_most_one() {
    let world = World::of(3);
    let channel = world.channel(3, ROUND_ROBIN);
    channel.settle().await;
    let shares = shares(&channel, 10_000).await;
    let (most, least) = (shares.values().max().unwrap(), shares.values().min().unwrap());
    assert!(shares.len() == 3 && most - least <= 1, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_server_fails_no_retryable_call_and_returns_within_its_backoff() {
    let world = World::of(3);
    let channel = world.channel(3, RETRYING);
    shares(&channel, 30).await;
    // A call is under way on each server when one of them dies.
    world.script([Hang, Hang, Hang]);
    let calls: Vec<_> = (0..3).map(|_| unary(&channel)).collect();
    let mut calls = Box::pin(futures::future::select_all(calls.into_iter().map(Box::pin)));
    assert!(futures::poll!(calls.as_mut()).is_pending());
    sleep(Duration::from_millis(1)).await;
    world.kill(2);
    let (answer, _, _) = calls.await;
    assert_ne!(answer.unwrap(), server(2));
    let shares_now = shares(&channel, 1000).await;
    assert!(!shares_now.contains_key(&server(2)) && shares_now.len() == 2, "{shares_now:?}");
    world.start(2);
    sleep(Duration::from_secs(3)).await; // 1 s, then 1.6 s, each up to a fifth longer
    assert_eq!(shares(&channel, 9).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_dialed_with_growing_delays() {
    let world = World::of(0);
    let channel = world.channel(1, PICK_FIRST);
    unary(&channel).await.unwrap_err();
    sleep(Duration::from_secs(3600)).await;
    let dials = world.dials();
    let delays: Vec<f64> =
        dials.windows(2).map(|pair| (pair[1].1 - pair[0].1).as_secs_f64()).collect();
    for (n, delay) in delays.iter().enumerate() {
        let exact = 1.6_f64.powi(i32::try_from(n).unwrap()).min(120.0);
        assert!((exact * 0.79..exact * 1.21).contains(delay), "{n}: {delays:?}");
    }
    assert!(delays.len() > 20);
}

#[tokio::test(start_paused = true)]
async fn calls_fail_at_once_during_the_backoff_and_say_why() {
    let world = World::of(0);
    let channel = world.channel(2, PICK_FIRST);
    for _ in 0..3 {
        let begun = Instant::now();
        let status = unary(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(
            status.message().contains("10.0.0.2") && status.message().contains("refused"),
            "{status:?}"
        );
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
    assert_eq!(world.dials().len(), 2, "failing calls dial no more often");
}

#[tokio::test(start_paused = true)]
async fn wait_for_ready_has_three_outcomes() {
    let world = World::of(0);
    // No server, and a call that does not wait.
    let status = unary(&world.channel(1, PICK_FIRST)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    // A server comes while a call waits.
    let channel = world.channel(1, WAITING);
    let (answer, ()) = tokio::join!(unary(&channel), async {
        sleep(Duration::from_secs(10)).await;
        world.start(1);
    });
    answer.unwrap();
    // No server comes in time.
    world.kill(1);
    let channel = world.channel(1, WAITING).with_deadline(Instant::now() + Duration::from_secs(1));
    let status = unary(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("refused"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn wait_for_ready_also_waits_for_a_target_that_cannot_be_resolved() {
    let config = WAITING.parse().unwrap();
    let channel =
        Channel::builder("file:/nowhere/at/all".parse().unwrap()).service_config(config).build();
    let channel = channel.with_deadline(Instant::now() + Duration::from_secs(5));
    assert_eq!(unary(&channel).await.unwrap_err().code(), Code::DeadlineExceeded);
}

/// Checks the health of the service `echo`.
const HEALTHY: &str = r#"{
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "echo"}
}"#;

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_serving_gets_no_calls_until_it_is() {
    let world = World::of(2);
    world.set_health(1, Some(Health::NotServing));
    world.set_health(2, Some(Health::Serving));
    let channel = world.channel(2, HEALTHY);
    channel.settle().await;
    assert_eq!(shares(&channel, 10).await, [(server(2), 10)].into());
    world.set_health(1, Some(Health::Serving));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shares(&channel, 10).await.len(), 2);
    world.set_health(1, Some(Health::NotServing));
    world.set_health(2, Some(Health::NotServing));
    sleep(Duration::from_millis(1)).await;
    let status = unary(&channel).await.unwrap_err();
    assert!(status.message().contains("not serving"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn pick_first_does_not_check_health() {
    let world = World::of(1);
    world.set_health(1, Some(Health::NotServing));
    let channel = world.channel(1, r#"{"healthCheckConfig": {"serviceName": "echo"}}"#);
    assert_eq!(unary(&channel).await.unwrap(), server(1));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_health_service_counts_as_serving() {
    let world = World::of(1);
    let channel = world.channel(1, HEALTHY);
    channel.settle().await;
    unary(&channel).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_follow_a_file_of_addresses_that_changes() {
    let world = World::of(2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers");
    std::fs::write(&file, server(1).to_string()).unwrap();
    let target = format!("file:{}", file.display());
    let channel = world.builder_to(&target, ROUND_ROBIN).build();
    assert_eq!(unary(&channel).await.unwrap(), server(1));
    std::fs::write(&file, format!("{}\n{}\n", server(1), server(2))).unwrap();
    sleep(Duration::from_secs(2)).await;
    channel.settle().await;
    assert_eq!(shares(&channel, 10).await.len(), 2);
    std::fs::write(&file, server(2).to_string()).unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(shares(&channel, 10).await, [(server(2), 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_speak_http2_is_unavailable() {
    let channel = Channel::builder("passthrough:///x".parse().unwrap()).dialer(|_| async {
        let (client, mut server) = tokio::io::duplex(1024);
        tokio::io::AsyncWriteExt::write_all(&mut server, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await?;
        // Leaked, so that the connection stays open as if more were to come.
        std::mem::forget(server);
        Ok(Box::new(client) as quartet_channel::BoxedIo)
    });
    let status = unary(&channel.build()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("does not speak HTTP/2"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_but_sends_nothing_is_given_up_after_five_seconds() {
    let channel = Channel::builder("passthrough:///x".parse().unwrap()).dialer(|_| async {
        let (client, server) = tokio::io::duplex(1024);
        std::mem::forget(server);
        Ok(Box::new(client) as quartet_channel::BoxedIo)
    });
    let begun = Instant::now();
    let status = unary(&channel.build()).await.unwrap_err();
    assert_eq!((status.code(), begun.elapsed().as_secs()), (Code::Unavailable, 5));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_channel_leaves_no_connection_behind() {
    let world = World::of(1);
    let channel = world.channel(1, ROUND_ROBIN);
    unary(&channel).await.unwrap();
    drop(channel);
    world.kill(1);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.dials().len(), 1, "no reconnection");
}
