//! Resets in both directions: what a server's RST_STREAM means to the caller, and what a caller
//! that cancels sends to the server.
//!
//! tonic does half of both only with certain of its features. These tests hold in a build with the
//! channel's own features, `cargo test -p quartet-channel`.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use h2::Reason;
use quartet_channel::CallError;
use tokio::time::sleep;
use tonic::Code;

use crate::world::{
    Answer::{Hang, Reset, ResetLate},
    World, stream_of, stream_request, unary,
};

/// The table of PROTOCOL-HTTP2, and INTERNAL for codes that it does not map.
const CODES: [(Reason, Code); 14] = [
    (Reason::NO_ERROR, Code::Internal),
    (Reason::PROTOCOL_ERROR, Code::Internal),
    (Reason::INTERNAL_ERROR, Code::Internal),
    (Reason::FLOW_CONTROL_ERROR, Code::Internal),
    (Reason::SETTINGS_TIMEOUT, Code::Internal),
    (Reason::STREAM_CLOSED, Code::Internal),
    (Reason::FRAME_SIZE_ERROR, Code::Internal),
    (Reason::REFUSED_STREAM, Code::Unavailable),
    (Reason::CANCEL, Code::Cancelled),
    (Reason::COMPRESSION_ERROR, Code::Internal),
    (Reason::CONNECT_ERROR, Code::Internal),
    (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
    (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
    (Reason::HTTP_1_1_REQUIRED, Code::Internal),
];

#[tokio::test(start_paused = true)]
async fn each_reset_code_before_a_response_has_its_status() {
    for (reason, code) in CODES {
        let world = World::of(1);
        // The first refusal is retried; the second is the result.
        world.script([Reset(reason), Reset(reason)]);
        let status = unary(&world.channel(1, "{}")).await.unwrap_err();
        assert_eq!(status.code(), code, "{reason:?}: {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_reset_code_within_a_response_has_its_status() {
    for (reason, code) in CODES.into_iter().filter(|(reason, _)| *reason != Reason::NO_ERROR) {
        let world = World::of(1);
        world.script([ResetLate(reason)]);
        let channel = world.channel(1, "{}");
        let status = stream_of(&channel, stream::pending()).await.unwrap_err();
        assert_eq!(status.code(), code, "{reason:?}: {status:?}");
        assert_eq!(world.seen().len(), 1, "{reason:?}: a response that has begun is not retried");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_reset_with_no_error_does_not_end_well() {
    let world = World::of(1);
    world.script([ResetLate(Reason::NO_ERROR)]);
    stream_of(&world.channel(1, "{}"), stream::pending()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_reset_call_is_lost_and_not_refused_by_the_server() {
    let world = World::of(1);
    world.script([Reset(Reason::CANCEL)]);
    let status = unary(&world.channel(1, "{}")).await.unwrap_err();
    let error = CallError::from(status);
    assert!(matches!(error, CallError::Lost(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_its_caller_cancels_is_reset_with_cancel() {
    let world = World::of(1);
    world.script([Hang]);
    let requests = stream::iter(["first".to_owned()]).chain(stream::pending());
    let mut request = tonic::Request::new(requests);
    let cancellation = request.cancellation_handle();
    let channel = world.channel(1, "{}");
    let cancel = async {
        sleep(Duration::from_secs(1)).await;
        cancellation.cancel();
    };
    let (result, ()) = tokio::join!(stream_request(&channel, request), cancel);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen()[0].reset, Some(Reason::CANCEL));
}
