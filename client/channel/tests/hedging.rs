//! Hedging, several attempts at the same time, by gRFC A6.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use crate::world::{
    Answer::{self, Fail, Hang, PushBack},
    World, server, stream_of, unary,
};

fn config(attempts: u32, delay: &str) -> String {
    format!(
        r#"{{
            "loadBalancingConfig": [{{"round_robin": {{}}}}],
            "methodConfig": [{{"name": [{{}}], "hedgingPolicy": {{
                "maxAttempts": {attempts}, "hedgingDelay": "{delay}",
                "nonFatalStatusCodes": ["UNAVAILABLE"]
            }}}}]
        }}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_call_answered_within_the_delay_makes_one_attempt() {
    let world = World::of(1);
    unary(&world.channel(1, &config(3, "1s"))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_makes_another_attempt_and_the_first_answer_counts() {
    let world = World::of(1);
    world.script([Hang, Hang]);
    let begun = Instant::now();
    assert_eq!(unary(&world.channel(1, &config(3, "1s"))).await.unwrap(), server(1));
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    let previous: Vec<_> =
        world.seen().iter().map(|seen| seen.previous_attempts().map(str::to_owned)).collect();
    assert_eq!(previous, [None, Some("1".into()), Some("2".into())]);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited_by_the_policy() {
    let world = World::of(1);
    world.script([Hang, Hang, Hang]);
    let channel =
        world.channel(1, &config(2, "1s")).with_deadline(Instant::now() + Duration::from_secs(60));
    assert_eq!(unary(&channel).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(world.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_non_fatal_failure_starts_the_next_attempt_at_once() {
    let world = World::of(1);
    world.script([Fail(Code::Unavailable), Fail(Code::Unavailable)]);
    let begun = Instant::now();
    unary(&world.channel(1, &config(3, "100s"))).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(world.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_fails_when_all_attempts_have_failed() {
    let world = World::of(1);
    world.script([Fail(Code::Unavailable), Fail(Code::Unavailable), Fail(Code::Unavailable)]);
    let status = unary(&world.channel(1, &config(3, "0s"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(world.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_ends_the_call_and_its_other_attempts() {
    let world = World::of(1);
    world.script([Hang, Fail(Code::InvalidArgument)]);
    let begun = Instant::now();
    let status = unary(&world.channel(1, &config(3, "1s"))).await.unwrap_err();
    assert_eq!((status.code(), begun.elapsed().as_secs()), (Code::InvalidArgument, 1));
}

#[tokio::test(start_paused = true)]
async fn pushback_delays_or_stops_the_next_attempt() {
    let world = World::of(1);
    world.script([PushBack(Code::Unavailable, "5000")]);
    let begun = Instant::now();
    unary(&world.channel(1, &config(3, "1s"))).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 5);
    world.script([PushBack(Code::Unavailable, "-1")]);
    unary(&world.channel(1, &config(3, "1s"))).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn throttling_stops_hedging_as_well() {
    let config = config(5, "0s");
    let throttle = r#", "retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}}"#;
    let world = World::of(1);
    world.script(std::iter::repeat_n(Fail(Code::Unavailable), 20));
    let channel = world.channel(1, &format!("{}{throttle}", config.strip_suffix('}').unwrap()));
    unary(&channel).await.unwrap_err();
    world.seen();
    unary(&channel).await.unwrap_err();
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hedges_go_to_other_servers() {
    let world = World::of(2);
    let channel = world.channel(2, &config(2, "1s"));
    unary(&channel).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await; // both are connected
    world.seen();
    world.script([Hang, Answer::Ok]);
    unary(&channel).await.unwrap();
    let seen = world.seen();
    assert_ne!(seen[0].server, seen[1].server);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_requests_is_not_hedged() {
    let world = World::of(1);
    let requests = async_stream::stream! {
        yield "a".to_owned();
        tokio::time::sleep(Duration::from_secs(10)).await;
        yield "b".to_owned();
    };
    stream_of(&world.channel(1, &config(3, "1s")), requests).await.unwrap();
    assert_eq!(world.seen().len(), 1);
}
