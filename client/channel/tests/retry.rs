//! gRFC A6, rule by rule: the cases of the proposal, and those of grpc-go's tests of retries.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use h2::Reason;
use quartet_channel::Channel;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::world::{
    Answer::{self, Fail, FailLate, Hang, HangUp, PushBack, Reset, Stall},
    PATH, World, all_kinds, server, stream_of, unary,
};

const POLICY: &str = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "1s", "maxBackoff": "10s",
    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
const NO_POLICY: &str = "{}";
const REFUSE: Answer = Reset(Reason::REFUSED_STREAM);

fn unavailable(times: usize) -> impl Iterator<Item = Answer> {
    std::iter::repeat_n(Fail(Code::Unavailable), times)
}

fn with_throttle(max_tokens: u32) -> String {
    let throttle =
        format!(r#", "retryThrottling": {{"maxTokens": {max_tokens}, "tokenRatio": 0.5}}}}"#);
    format!("{}{throttle}", POLICY.strip_suffix('}').unwrap())
}

async fn code_of(channel: &Channel) -> Code {
    unary(channel).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_the_caller_gets_the_failure() {
    let world = World::of(1);
    world.script(unavailable(1));
    assert_eq!(code_of(&world.channel(1, NO_POLICY)).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_code_of_the_policy_is_retried_with_growing_delays_and_the_number_of_attempts() {
    let world = World::of(1);
    world.script(unavailable(3));
    unary(&world.channel(1, POLICY)).await.unwrap();
    let seen = world.seen();
    let previous: Vec<_> = seen.iter().map(|seen| seen.previous_attempts()).collect();
    assert_eq!(previous, [None, Some("1"), Some("2"), Some("3")]);
    let delays = seen.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64());
    for (delay, expected) in delays.zip([1.0, 2.0, 4.0]) {
        assert!((expected * 0.79..expected * 1.21).contains(&delay), "{delay} for {expected}");
    }
    assert!(seen.iter().all(|request| request.body.is_empty() || request.body.ends_with(b"hello")));
}

#[tokio::test(start_paused = true)]
async fn the_caller_gets_the_status_of_the_last_attempt() {
    let world = World::of(1);
    world.script(unavailable(5));
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_the_policy_does_not_list_is_final() {
    let world = World::of(1);
    world.script([Fail(Code::Unavailable), Fail(Code::Aborted)]);
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Aborted);
    assert_eq!(world.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_four_kinds_are_retried() {
    let world = World::of(1);
    let channel = world.channel(1, POLICY);
    for _ in 0..4 {
        world.script([Fail(Code::Unavailable), Answer::Ok]);
    }
    for result in all_kinds(&channel).await {
        result.unwrap();
    }
    let seen = world.seen();
    assert_eq!(seen.len(), 8);
    assert_eq!(seen[5].body, b"\0\0\0\0\x03\n\x01a\0\0\0\0\x03\n\x01b", "the whole request again");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_response_has_begun_is_never_retried() {
    let world = World::of(1);
    world.script([FailLate(Code::Unavailable)]);
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_unavailable_and_retried() {
    let world = World::of(1);
    world.script([HangUp, HangUp]);
    unary(&world.channel(1, POLICY)).await.unwrap();
    assert_eq!(world.seen().len(), 3);
    world.script([HangUp]);
    assert_eq!(code_of(&world.channel(1, NO_POLICY)).await, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn pushback_sets_the_next_delay_and_restarts_the_backoff() {
    let world = World::of(1);
    world.script([
        Fail(Code::Unavailable),
        PushBack(Code::Unavailable, "7000"),
        Fail(Code::Unavailable),
    ]);
    unary(&world.channel(1, POLICY)).await.unwrap();
    let seen = world.seen();
    assert_eq!((seen[2].at - seen[1].at).as_secs(), 7);
    assert!((seen[3].at - seen[2].at).as_secs_f64() < 1.21, "as after the first failure");
}

#[tokio::test(start_paused = true)]
async fn negative_or_invalid_pushback_forbids_retries() {
    for text in ["-1", "soon", ""] {
        let world = World::of(1);
        world.script([PushBack(Code::Unavailable, text)]);
        assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Unavailable);
        assert_eq!(world.seen().len(), 1, "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pushback_does_not_make_a_final_code_retryable() {
    let world = World::of(1);
    world.script([PushBack(Code::Aborted, "1")]);
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Aborted);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn throttling_stops_retries_until_enough_calls_succeed() {
    let world = World::of(1);
    let channel = world.channel(1, &with_throttle(4));
    world.script(unavailable(2));
    assert_eq!(code_of(&channel).await, Code::Unavailable, "4 tokens, then 3, then 2: half");
    assert_eq!(world.seen().len(), 2);
    for _ in 0..4 {
        unary(&channel).await.unwrap(); // gives back half a token
    }
    world.seen();
    world.script(unavailable(1));
    unary(&channel).await.unwrap();
    assert_eq!(world.seen().len(), 2, "it is retried again");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_all_attempts_and_each_sends_the_time_left() {
    let world = World::of(1);
    world.script([Fail(Code::Unavailable), Hang]);
    let begun = Instant::now();
    let channel = world.channel(1, POLICY).with_deadline(begun + Duration::from_secs(5));
    assert_eq!(code_of(&channel).await, Code::DeadlineExceeded);
    assert_eq!(begun.elapsed().as_secs(), 5);
    let left: Vec<u64> = world
        .seen()
        .iter()
        .map(|seen| {
            let timeout = seen.headers["grpc-timeout"].to_str().unwrap();
            timeout.strip_suffix('m').unwrap().parse().unwrap()
        })
        .collect();
    assert!(left[0] <= 5000 && left[1] <= 4300, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_the_method_ends_a_call_between_attempts() {
    let config = POLICY.replace(r#""retryPolicy""#, r#""timeout": "0.5s", "retryPolicy""#);
    let world = World::of(1);
    world.script(unavailable(1));
    let begun = Instant::now();
    assert_eq!(code_of(&world.channel(1, &config)).await, Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_the_method_ends_a_response_that_stalls() {
    let world = World::of(1);
    world.script([Stall]);
    let begun = Instant::now();
    let config = r#"{"methodConfig": [{"name": [{}], "timeout": "0.5s"}]}"#;
    assert_eq!(code_of(&world.channel(1, config)).await, Code::DeadlineExceeded);
    let grace = Duration::from_millis(500);
    assert_eq!(begun.elapsed(), Duration::from_millis(500) + grace, "for the server's own status");
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_sent_again_once_without_a_policy() {
    let world = World::of(1);
    world.script([REFUSE]);
    let channel = world.builder(1, NO_POLICY).idempotent([PATH]).build();
    let begun = Instant::now();
    unary(&channel).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "at once");
    let seen = world.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].previous_attempts(), None, "no application has seen the call");
    world.script([REFUSE, REFUSE]);
    assert_eq!(code_of(&channel).await, Code::Unavailable, "the second refusal is final");
}

/// HAProxy answers so too if its server died while it worked on the call.
#[tokio::test(start_paused = true)]
async fn a_complete_request_that_is_refused_is_not_sent_again_unless_its_method_may_run_twice() {
    let world = World::of(1);
    world.script([REFUSE]);
    let channel = world.channel(1, NO_POLICY);
    assert_eq!(code_of(&channel).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
    world.script([REFUSE]);
    let unfinished = stream::iter(["first".to_owned()]).chain(stream::pending());
    let _ = timeout(Duration::from_secs(1), stream_of(&channel, unfinished)).await;
    assert_eq!(world.seen().len(), 2, "no application can have acted on part of a request");
}

#[tokio::test(start_paused = true)]
async fn after_the_first_a_refusal_is_unavailable_to_the_policy() {
    let world = World::of(1);
    world.script([REFUSE, REFUSE]);
    unary(&world.channel(1, POLICY)).await.unwrap();
    let previous: Vec<_> =
        world.seen().iter().map(|seen| seen.previous_attempts().map(str::to_owned)).collect();
    assert_eq!(previous, [None, None, Some("1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_call_above_the_last_stream_of_a_goaway_moves_to_another_connection() {
    let world = World::of(1);
    world.send_goaway(1);
    unary(&world.channel(1, NO_POLICY)).await.unwrap();
    assert_eq!((world.dials().len(), world.seen().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reset_call_may_have_been_executed_and_is_not_retried() {
    let world = World::of(1);
    world.script([Reset(Reason::INTERNAL_ERROR)]);
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Internal);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_buffer_is_sent_once() {
    let world = World::of(1);
    let channel = world.builder(1, POLICY).retry_buffer(1000).build();
    world.script([Fail(Code::Unavailable)]);
    let large = || stream::iter((0..100).map(|_| "x".repeat(100)));
    let status = stream_of(
        &channel,
        large()
            .then(|text| async {
                tokio::task::yield_now().await;
                text
            })
            .boxed(),
    )
    .await
    .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
    stream_of(&channel, large()).await.unwrap();
    assert_eq!(world.seen()[0].body.len(), 100 * (5 + 2 + 100), "and whole, if it succeeds");
}

#[tokio::test(start_paused = true)]
async fn a_request_stream_goes_on_during_a_retry() {
    let world = World::of(1);
    world.script([Fail(Code::Unavailable)]);
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    sender.send("first".to_owned()).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let channel = world.channel(1, POLICY);
    let talk = async {
        while world.requests() < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sender.send("second".to_owned()).await.unwrap();
        drop(sender);
    };
    let (answers, ()) = tokio::join!(stream_of(&channel, requests), talk);
    assert_eq!(answers.unwrap(), [server(1).to_string()]);
    let body = &world.seen()[1].body;
    assert!(body.windows(5).any(|bytes| bytes == b"first") && body.ends_with(b"second"));
}

#[tokio::test(start_paused = true)]
async fn messages_over_the_limits_of_the_config_are_resource_exhausted() {
    for key in ["maxRequestMessageBytes", "maxResponseMessageBytes"] {
        let world = World::of(1);
        let config = format!(r#"{{"methodConfig": [{{"name": [{{}}], "{key}": 4}}]}}"#);
        assert_eq!(code_of(&world.channel(1, &config)).await, Code::ResourceExhausted, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_resets_its_attempt() {
    let world = World::of(1);
    world.script([Hang]);
    let channel = world.channel(1, POLICY);
    timeout(Duration::from_secs(1), unary(&channel)).await.expect_err("it hangs");
    unary(&channel).await.unwrap();
    let seen = world.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].reset, Some(Reason::CANCEL));
}
