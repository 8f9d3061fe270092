//! gRFC A6, rule by rule: the cases of the proposal and of grpc-go's tests of retry, in meaning.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use quartet_channel::Channel;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::world::{
    Answer::{self, Fail, FailLate, Hang, HangUp, PushBack, Refuse, Reset},
    World, all_kinds, server, stream_of, unary,
};

const POLICY: &str = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "1s", "maxBackoff":
    "10s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
const NONE: &str = "{}";

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
async fn without_a_policy_a_failure_is_the_callers() {
    let world = World::of(1);
    world.script(unavailable(1));
    assert_eq!(code_of(&world.channel(1, NONE)).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_code_of_the_policy_is_tried_again_with_growing_delays_and_the_number_of_attempts() {
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
async fn the_last_attempt_counts_and_the_caller_gets_its_status() {
    let world = World::of(1);
    world.script(unavailable(5));
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_the_policy_does_not_name_is_final() {
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
async fn a_response_that_has_begun_is_never_tried_again() {
    let world = World::of(1);
    world.script([FailLate(Code::Unavailable)]);
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Unavailable);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_is_unavailable_and_tried_again() {
    let world = World::of(1);
    world.script([HangUp, HangUp]);
    unary(&world.channel(1, POLICY)).await.unwrap();
    assert_eq!(world.seen().len(), 3);
    world.script([HangUp]);
    assert_eq!(code_of(&world.channel(1, NONE)).await, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_pushes_back_decides_when_and_the_delays_begin_again() {
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
async fn a_server_that_wants_no_retry_gets_none() {
    for text in ["-1", "soon", ""] {
        let world = World::of(1);
        world.script([PushBack(Code::Unavailable, text)]);
        assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Unavailable);
        assert_eq!(world.seen().len(), 1, "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_pushes_back_does_not_make_a_final_code_retryable() {
    let world = World::of(1);
    world.script([PushBack(Code::Aborted, "1")]);
    assert_eq!(code_of(&world.channel(1, POLICY)).await, Code::Aborted);
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_much_fails_nothing_is_retried_until_enough_succeeds() {
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
async fn the_deadline_holds_for_all_attempts_and_each_is_told_what_is_left() {
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
async fn a_timeout_of_the_method_ends_calls_also_between_attempts_and_after_the_response_began() {
    let config = POLICY.replace(r#""retryPolicy""#, r#""timeout": "0.5s", "retryPolicy""#);
    let world = World::of(1);
    world.script(unavailable(1));
    let begun = Instant::now();
    assert_eq!(code_of(&world.channel(1, &config)).await, Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_server_refuses_is_sent_again_once_without_any_policy() {
    let world = World::of(1);
    world.script([Refuse]);
    let channel = world.channel(1, NONE);
    let begun = Instant::now();
    unary(&channel).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "at once");
    let seen = world.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].previous_attempts(), None, "the application saw none before");
    world.script([Refuse, Refuse]);
    assert_eq!(code_of(&channel).await, Code::Unavailable, "the second time it counts");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_counts_as_unavailable_to_a_policy_after_the_first() {
    let world = World::of(1);
    world.script([Refuse, Refuse]);
    unary(&world.channel(1, POLICY)).await.unwrap();
    let previous: Vec<_> =
        world.seen().iter().map(|seen| seen.previous_attempts().map(str::to_owned)).collect();
    assert_eq!(previous, [None, None, Some("1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_call_above_the_last_stream_of_a_goaway_is_made_on_another_connection() {
    let world = World::of(1);
    world.say_goodbye(1);
    unary(&world.channel(1, NONE)).await.unwrap();
    assert_eq!((world.dials().len(), world.seen().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reset_says_nothing_of_what_was_done_and_is_the_callers() {
    let world = World::of(1);
    world.script([Reset]);
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
async fn a_request_is_read_on_while_a_retry_is_under_way() {
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
async fn a_caller_that_gives_up_takes_its_attempt_with_it() {
    let world = World::of(1);
    world.script([Hang]);
    let channel = world.channel(1, POLICY);
    timeout(Duration::from_secs(1), unary(&channel)).await.expect_err("it hangs");
    unary(&channel).await.unwrap();
    assert_eq!(world.seen().len(), 2);
}
