//! What answers in place of a gRPC server, and responses that are cut off: which status the caller
//! gets, whether it is retried, and that it is never taken for the server's word.
//!
//! The right values are those of gRPC's [documents](https://github.com/grpc/grpc/tree/master/doc)
//! http-grpc-status-mapping, PROTOCOL-HTTP2, compression and statuscodes.

use std::time::Duration;

use futures::stream;
use quartet_channel::CallError;
use tonic::{Code, Status};

use crate::world::{
    Answer::{self, CancelAfter, End, HeadWith, Page},
    CancelAt, PATH, World, all_kinds, stream_of, unary,
};

const POLICY: &str = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "1s", "maxBackoff": "10s",
    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
const NO_POLICY: &str = "{}";

/// The table of http-grpc-status-mapping, and two statuses that it leaves to "all others".
const HTTP: [(u16, Code); 10] = [
    (400, Code::Internal),
    (401, Code::Unauthenticated),
    (403, Code::PermissionDenied),
    (404, Code::Unimplemented),
    (429, Code::Unavailable),
    (502, Code::Unavailable),
    (503, Code::Unavailable),
    (504, Code::Unavailable),
    (413, Code::Unknown),
    (500, Code::Unknown),
];

const PAGES: [(Option<&str>, &str); 5] = [
    (Some("text/html"), "<html><h1>Bad Gateway</h1></html>"),
    (Some("text/plain"), "Bad Gateway"),
    (None, ""),
    (Some("application/grpc"), ""),
    (Some("application/grpc"), "Bad Gateway"),
];

fn pages(status: u16) -> impl Iterator<Item = Answer> {
    PAGES.into_iter().map(move |(content_type, body)| Page { status, content_type, body })
}

#[tokio::test(start_paused = true)]
async fn in_all_kinds_a_page_has_the_status_of_its_http_code_and_is_not_the_servers_word() {
    for (http, code) in HTTP {
        for page in pages(http) {
            let world = World::of(1);
            world.script(vec![page.clone(); 4]);
            for result in all_kinds(&world.channel(1, NO_POLICY)).await {
                let status = result.unwrap_err();
                assert_eq!(status.code(), code, "{page:?}: {status:?}");
                assert!(status.message().contains(&http.to_string()), "{page:?}: {status:?}");
                let error = CallError::from(status);
                assert!(matches!(error, CallError::Local(_)), "{page:?}: {error:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_all_kinds_a_page_is_retried_as_the_policy_says_for_its_code() {
    for (http, code) in HTTP {
        for page in pages(http) {
            let world = World::of(1);
            let is_retried = code == Code::Unavailable;
            for _ in 0..4 {
                world.script([page.clone()]);
                world.script(is_retried.then_some(Answer::Ok));
            }
            for result in all_kinds(&world.channel(1, POLICY)).await {
                assert_eq!(result.is_ok(), is_retried, "{page:?}: {result:?}");
            }
            assert_eq!(world.seen().len(), if is_retried { 8 } else { 4 }, "{page:?}");
        }
    }
}

/// PROTOCOL-HTTP2: "Implementations should expect broken deployments to send non-200 HTTP status
/// codes in responses as well as a variety of non-GRPC content-types and to omit Status". What is
/// neither mapped nor known is UNKNOWN, as in grpc-go.
#[tokio::test(start_paused = true)]
async fn in_all_kinds_a_page_with_http_status_200_is_unknown() {
    for content_type in [Some("text/html"), Some("application/grpcfoo"), None] {
        for body in ["<html>", ""] {
            let world = World::of(1);
            world.script(vec![Page { status: 200, content_type, body }; 4]);
            for result in all_kinds(&world.channel(1, POLICY)).await {
                assert_eq!(result.unwrap_err().code(), Code::Unknown, "{content_type:?} {body:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_content_type_of_grpc_is_accepted() {
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let world = World::of(1);
        let page = Page { status: 200, content_type: Some(content_type), body: "\0\0\0\0\0" };
        world.script([page]);
        // Its message is read; the body then ends without trailers.
        let error = CallError::from(unary(&world.channel(1, NO_POLICY)).await.unwrap_err());
        assert!(matches!(error, CallError::Lost(_)), "{error:?}");
    }
}

/// PROTOCOL-HTTP2: the status is that of the trailers, and a head that does not end the response
/// has none. A retry would begin while the first response is under way.
#[tokio::test(start_paused = true)]
async fn in_all_kinds_a_status_in_a_head_that_does_not_end_the_response_is_not_believed() {
    const HEADERS: &[(&str, &str)] = &[
        ("grpc-status", "14"),
        ("grpc-message", "gone"),
        ("grpc-status-details-bin", "AAAA"),
        ("grpc-retry-pushback-ms", "1"),
    ];
    let world = World::of(1);
    world.script(vec![HeadWith(HEADERS); 4]);
    for result in all_kinds(&world.channel(1, POLICY)).await {
        result.unwrap();
    }
    assert_eq!(world.seen().len(), 4, "none was retried");
}

/// compression.md: a client that gets a response in an encoding that it does not support ends the
/// call with INTERNAL.
#[tokio::test(start_paused = true)]
async fn in_all_kinds_an_encoding_that_was_not_offered_is_internal_and_named() {
    let world = World::of(1);
    world.script(vec![HeadWith(&[("grpc-encoding", "gzip")]); 4]);
    for result in all_kinds(&world.channel(1, POLICY)).await {
        let status = result.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status:?}");
        assert!(status.message().contains("gzip"), "{status:?}");
    }
    world.script(vec![HeadWith(&[("grpc-encoding", "identity")]); 4]);
    for result in all_kinds(&world.channel(1, POLICY)).await {
        result.unwrap();
    }
}

/// The ends that proxies make up when their server is gone: HAProxy 2.6 sends an empty DATA frame
/// with END_STREAM, Apache its page within the response.
#[tokio::test(start_paused = true)]
async fn in_all_kinds_a_response_that_is_cut_off_is_lost_and_not_ended_by_the_server() {
    for (bytes, trailers, code) in [
        (&b""[..], &[][..], Code::Unknown),
        (b"", &[("x-proxy", "1")], Code::Unknown),
        (b"\0\0", &[], Code::Internal),
        (b"\0\0\0\0\x02a", &[], Code::Internal),
        (b"\0\0\0\0\x02a", &[("grpc-status", "0")], Code::Internal),
        (b"<html><h1>Service Unavailable</h1></html>", &[], Code::Internal),
    ] {
        let world = World::of(1);
        world.script(vec![End(bytes, trailers); 4]);
        for result in all_kinds(&world.channel(1, POLICY)).await {
            let status = result.unwrap_err();
            assert_eq!(status.code(), code, "{bytes:?}, {trailers:?}: {status:?}");
            let error = CallError::from(status);
            assert!(matches!(error, CallError::Lost(_)), "{bytes:?}, {trailers:?}: {error:?}");
            assert!(error.to_string().contains("cut off"), "{error}");
        }
        assert_eq!(world.seen().len(), 4, "a response that has begun is not retried");
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_server_outranks_a_message_that_it_did_not_finish() {
    let world = World::of(1);
    world.script(vec![End(b"\0\0\0\0\x02a", &[("grpc-status", "10")]); 4]);
    for result in all_kinds(&world.channel(1, POLICY)).await {
        let error = CallError::from(result.unwrap_err());
        assert!(matches!(error, CallError::Status(_)), "{error:?}");
        assert_eq!(error.status().code(), Code::Aborted);
    }
}

/// compression.md: a message with the flag set and no encoding named MUST fail with INTERNAL.
#[tokio::test(start_paused = true)]
async fn a_compressed_message_without_an_encoding_is_internal() {
    let world = World::of(1);
    world.script([End(b"\x01\0\0\0\x01a", &[("grpc-status", "0")])]);
    let status = stream_of(&world.channel(1, NO_POLICY), stream::pending()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
}

/// statuscodes.md: the client side of a cardinality violation is UNIMPLEMENTED.
#[tokio::test(start_paused = true)]
async fn a_method_that_answers_with_one_message_refuses_none_and_two() {
    const OK: &[(&str, &str)] = &[("grpc-status", "0")];
    const TWO: Answer = End(b"\0\0\0\0\0", OK);
    let world = World::of(1);
    let channel = world.builder(1, NO_POLICY).single_responses([PATH]).build();
    for answer in [Answer::Fail(Code::Ok), Answer::FailLate(Code::Ok), TWO] {
        world.script([answer.clone()]);
        let status = unary(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{answer:?}: {status:?}");
        assert!(matches!(CallError::from(status), CallError::Local(_)), "{answer:?}");
    }
    world.script([End(b"", OK), Answer::Fail(Code::Aborted), Answer::FailLate(Code::Aborted)]);
    unary(&channel).await.unwrap();
    for _ in 0..2 {
        assert_eq!(unary(&channel).await.unwrap_err().code(), Code::Aborted);
    }
}

/// tonic panics when it decodes them.
#[tokio::test(start_paused = true)]
async fn details_that_are_not_base64_are_left_out() {
    const TRAILERS: &[(&str, &str)] = &[("grpc-status", "9"), ("grpc-status-details-bin", "%%%")];
    let world = World::of(1);
    world.script(vec![End(b"", TRAILERS); 4]);
    for result in all_kinds(&world.channel(1, NO_POLICY)).await {
        assert_eq!(result.unwrap_err().code(), Code::FailedPrecondition);
    }
}

fn end_of(deadline: Duration) -> String {
    format!(r#"{{"methodConfig": [{{"name": [{{}}], "timeout": "{}s"}}]}}"#, deadline.as_secs())
}

/// grpc-go's server resets the stream with CANCEL when the deadline passes
/// (`internal/transport/http2_server.go`), and grpc-go's client turns a CANCEL after its own
/// deadline into DEADLINE_EXCEEDED (`http2_client.go`).
#[tokio::test(start_paused = true)]
async fn in_all_kinds_a_cancel_after_ones_own_deadline_is_deadline_exceeded() {
    const DEADLINE: Duration = Duration::from_secs(2);
    for at in [CancelAt::Head, CancelAt::Body] {
        for early in [Duration::ZERO, Duration::from_secs(1)] {
            let world = World::of(1);
            world.script(vec![CancelAfter(DEADLINE - early, at); 4]);
            let expected = if early.is_zero() { Code::DeadlineExceeded } else { Code::Cancelled };
            for result in all_kinds(&world.channel(1, &end_of(DEADLINE))).await {
                let status: Status = result.unwrap_err();
                assert_eq!(status.code(), expected, "{at:?}, {early:?} before: {status:?}");
            }
        }
    }
}
