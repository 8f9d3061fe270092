//! Compressed messages, in all four kinds and both directions.

use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use quartet::{
    limits::REQUEST_BYTES,
    methods::post_v1::{LIST_POSTS, LIST_POSTS_BY_USER_ID, TAG_FEED, UPLOAD_POSTS},
    post::v1::{ListPostsRequest, post_service_client::PostServiceClient},
    reason,
};
use quartet_channel::Encoding;
use quartet_client::{Channel, FeedEvent, FeedRequest, FeedStart, ListEvent, list_posts, tag_feed};
use quartet_server::settings::Settings;
use quartet_wire::compression::Recoder;
use tonic::Code;

use crate::support::{
    TestServer, assert_refused, large_post, page, raw, server::target, soon, upload,
};

const ALL: [&str; 4] = [LIST_POSTS_BY_USER_ID, LIST_POSTS, UPLOAD_POSTS, TAG_FEED];

fn header(name: &'static str, value: &str) -> HeaderMap {
    let value = HeaderValue::try_from(value).unwrap();
    HeaderMap::from_iter([(HeaderName::from_static(name), value)])
}

fn compressed(encoding: Encoding, message: &[u8]) -> bytes::Bytes {
    let message = Recoder::compressing(encoding).pass(&raw::framed(message)).unwrap();
    assert_eq!(message[0], 1, "it became smaller");
    message
}

async fn compressing(compress_answers: bool) -> TestServer {
    TestServer::with(Settings { compress_answers, ..Settings::default() }).await
}

fn channel(server: &TestServer, encoding: Encoding) -> Channel {
    Channel::builder(target(server.address())).compression(encoding).build()
}

#[tokio::test]
async fn all_four_kinds_work_compressed_with_answers_of_either_form() {
    for answers in [false, true] {
        let server = compressing(answers).await;
        for &encoding in Encoding::KNOWN {
            let channel = channel(&server, encoding);
            let mut client = PostServiceClient::new(channel.clone());
            let sent = (0..300).map(|n| large_post(format!("{encoding}{n}"), &["a"], 400));
            assert_eq!(upload(&mut client, sent).await.unwrap().created_count, 300);
            assert!(page(&mut client, "1", None).await.unwrap().post_messages.len() >= 300);
            assert!(listed(channel.clone()).await >= 300);
            assert_eq!(published(channel, &format!("{encoding}-feed")).await, 1);
        }
        server.stop().await;
    }
}

/// The number of posts in a list.
async fn listed(channel: Channel) -> usize {
    let events = list_posts(channel, ListPostsRequest::default());
    let events: Vec<_> = soon(events.try_collect()).await.unwrap();
    let batches = events.iter().map(|event| match event {
        ListEvent::Batch(batch) => batch.post_messages.len(),
        other => panic!("{other:?}"),
    });
    batches.sum()
}

/// Publishes a post in a feed. Returns how many posts the feed sent.
async fn published(channel: Channel, id: &str) -> usize {
    let join = FeedRequest::Join { tags: vec!["feed".to_owned()], all_tags: false };
    let publish = FeedRequest::Publish(large_post(id, &["feed"], 400));
    let requests = futures::stream::iter([join, publish]);
    let events = tag_feed(channel, FeedStart::Now, requests);
    let events: Vec<_> = soon(events.try_collect()).await.unwrap();
    let posts = events.iter().map(|event| match event {
        FeedEvent::Posts(batch) => batch.post_messages.len(),
        _ => 0,
    });
    posts.sum()
}

#[tokio::test]
async fn answers_are_compressed_only_if_the_server_is_asked_to_and_the_caller_can_read_it() {
    for (answers, accepted, expected) in [
        (false, "gzip", None),
        (true, "identity", None),
        (true, "br, gzip", Some("gzip")),
        (true, "zstd", Some("zstd")),
    ] {
        let server = compressing(answers).await;
        let accept = header("grpc-accept-encoding", accepted);
        let request = vec![raw::framed(b"")];
        let head = raw::headers_of(&server.channel(), LIST_POSTS, accept, request).await;
        let encoding = head.get("grpc-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(encoding.as_deref(), expected, "{answers} {accepted}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_compressed_list_takes_less_than_a_third_of_the_bytes() {
    let server = compressing(true).await;
    let sent = (0..300).map(|n| large_post(format!("p{n}"), &["a"], 400));
    upload(&mut server.posts(), sent).await.unwrap();
    let mut sizes = Vec::new();
    for accepted in ["identity", "gzip", "zstd"] {
        let accept = header("grpc-accept-encoding", accepted);
        let request = vec![raw::framed(b"")];
        let (_, messages, _) = raw::all_of(&server.channel(), LIST_POSTS, accept, request).await;
        sizes.push(messages.len());
    }
    assert!(sizes[1] < sizes[0] / 3 && sizes[2] < sizes[0] / 3, "{sizes:?}");
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_encoding_is_unimplemented_with_the_encodings_that_are_read() {
    let server = TestServer::start().await;
    for path in ALL {
        let chunks = vec![raw::with_flag(1, b"x")];
        let br = header("grpc-encoding", "br");
        let status = raw::status_with(&server.channel(), path, br, chunks).await;
        assert!(status.message().contains("`br`"), "{status:?}");
        let accepted = status.metadata().get("grpc-accept-encoding").unwrap();
        assert_eq!(accepted, "identity,gzip,zstd");
        assert_refused(Err::<(), _>(status), Code::Unimplemented, reason::UNSUPPORTED_ENCODING);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_small_message_that_is_over_the_limit_when_decompressed_is_refused_in_all_four_kinds() {
    let server = TestServer::start().await;
    for &encoding in Encoding::KNOWN {
        let small = compressed(encoding, &vec![0; 100 * REQUEST_BYTES]);
        assert!(small.len() < REQUEST_BYTES / 2, "{encoding}: {}", small.len());
        for path in ALL {
            let named = header("grpc-encoding", encoding.name());
            let chunks = vec![small.clone()];
            let status = raw::status_with(&server.channel(), path, named, chunks).await;
            assert_refused(
                Err::<(), _>(status),
                Code::ResourceExhausted,
                reason::REQUEST_TOO_LARGE,
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_of_its_encoding_is_undecodable_in_all_four_kinds() {
    let server = TestServer::start().await;
    for &encoding in Encoding::KNOWN {
        for path in ALL {
            let named = header("grpc-encoding", encoding.name());
            let chunks = vec![raw::with_flag(1, b"not compressed")];
            let status = raw::status_with(&server.channel(), path, named, chunks).await;
            assert!(status.message().contains(encoding.name()), "{status:?}");
            assert_refused(Err::<(), _>(status), Code::Internal, reason::UNDECODABLE_MESSAGE);
        }
    }
    server.stop().await;
}
