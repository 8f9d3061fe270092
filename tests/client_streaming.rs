//! UploadPosts.

use quartet::{
    limits,
    post::v1::{PostMessage, UploadPostsRequest, post_service_client::PostServiceClient},
    reason,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    TestServer, assert_refused, finish, large_post, list, next, post, post_ids, post_request,
    posts, proxy::Proxy, raw, read_log, refusal, sequence, soon, strings, upload, upload_messages,
    upload_of,
};

const UPLOAD: &str = "/post.v1.PostService/UploadPosts";

#[tokio::test]
async fn created_duplicate_and_rejected_posts_add_up_to_the_posts_received() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let first = upload(&mut client, posts("p", 5, &[])).await.unwrap();
    assert_eq!((first.created_count, sequence(&first.position)), (5, 5));

    let again = vec![
        post("new", &[]),
        post("p3", &[]),  // a duplicate of the first upload
        post("new", &[]), // a duplicate within this upload
        PostMessage { title: "other".to_owned(), ..post("p1", &[]) }, // the id is taken
        PostMessage { user_id: "nobody".to_owned(), ..post("n", &[]) },
        post("no spaces", &[]),
    ];
    let response = upload(&mut client, again).await.unwrap();
    assert_eq!(
        (response.created_count, response.duplicate_count, response.reject_count),
        (1, 2, 3)
    );
    assert_eq!(sequence(&response.position), 6, "the largest sequence created or found again");
    assert!(response.complete);
    let rejects: Vec<_> = response
        .rejects
        .iter()
        .map(|reject| (reject.index, reject.post_id.as_str(), refusal(&reject.status)))
        .collect();
    assert_eq!(
        rejects,
        [
            (3, "p1", (Code::AlreadyExists, reason::POST_ID_TAKEN.to_owned())),
            (4, "n", (Code::NotFound, reason::USER_NOT_FOUND.to_owned())),
            (5, "no spaces", (Code::InvalidArgument, reason::INVALID_POST.to_owned())),
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn an_upload_of_duplicates_answers_with_the_position_of_the_originals() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("p", 9, &[])).await.unwrap();
    let found = upload(&mut client, posts("p", 4, &[])).await.unwrap();
    assert_eq!((found.duplicate_count, sequence(&found.position)), (4, 4));
    let nothing = upload(&mut client, []).await.unwrap();
    assert_eq!((nothing.complete, sequence(&nothing.position)), (true, 0));
    assert_eq!(read_log(&mut client).await.len(), 9);
    server.stop().await;
}

#[tokio::test]
async fn content_is_user_title_body_and_tags_in_order_and_nothing_else() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let original = post("p", &["a", "b"]);
    upload(&mut client, [original.clone()]).await.unwrap();

    // Output-only fields are ignored in requests.
    let same = PostMessage {
        author: "somebody".to_owned(),
        sequence: 77,
        create_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..original.clone()
    };
    let response = upload(&mut client, [same]).await.unwrap();
    assert_eq!((response.duplicate_count, sequence(&response.position)), (1, 1));

    let others = [
        PostMessage { user_id: "2".to_owned(), ..original.clone() },
        PostMessage { title: "other".to_owned(), ..original.clone() },
        PostMessage { body: "other".to_owned(), ..original.clone() },
        PostMessage { tags: strings(&["b", "a"]), ..original.clone() },
        PostMessage { tags: strings(&["a", "b", "c"]), ..original.clone() },
    ];
    let response = upload(&mut client, others).await.unwrap();
    assert_eq!(response.reject_count, 5);
    for reject in &response.rejects {
        assert_eq!(refusal(&reject.status).0, Code::AlreadyExists, "{reject:?}");
    }
    let log = read_log(&mut client).await;
    assert_eq!((log[0].author.as_str(), log[0].title.as_str()), ("Henry", "title of p"));
    server.stop().await;
}

#[tokio::test]
async fn the_first_hundred_rejects_are_listed_in_order_and_the_rest_counted() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("taken", 10, &[])).await.unwrap();
    // The server detects taken ids later than invalid posts.
    let mixed = (0..300).map(|n| match n % 3 {
        0 => PostMessage { body: "other".to_owned(), ..post(format!("taken{}", n % 10), &[]) },
        1 => PostMessage { title: String::new(), ..post(format!("p{n}"), &[]) },
        _ => post(format!("p{n}"), &[]),
    });
    let response = upload(&mut client, mixed).await.unwrap();
    assert_eq!((response.created_count, response.reject_count), (100, 200));
    let indexes: Vec<i64> = response.rejects.iter().map(|reject| reject.index).collect();
    assert_eq!(indexes, (0..150).filter(|n| n % 3 != 2).collect::<Vec<i64>>());
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_count_or_no_finish_is_ok_but_not_complete() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let sent: Vec<_> = posts("p", 3, &[]).into_iter().map(post_request).collect();
    for end in [vec![], vec![finish(2)], vec![finish(4)], vec![finish(-1)]] {
        let response = upload_messages(&mut client, [sent.clone(), end].concat()).await.unwrap();
        assert!(!response.complete);
        assert_eq!(response.created_count + response.duplicate_count, 3);
    }
    let whole = upload_messages(&mut client, [sent, vec![finish(3)]].concat()).await.unwrap();
    assert!(whole.complete);
    server.stop().await;
}

#[tokio::test]
async fn a_message_out_of_place_ends_an_upload_with_its_index_and_what_came_before_is_stored() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let nothing = UploadPostsRequest { payload: None };
    let offences = [
        ("late", vec![finish(2), post_request(post("too-late", &[]))]),
        ("twice", vec![finish(2), finish(2)]),
        ("unset", vec![nothing.clone(), post_request(post("too-late", &[]))]),
        ("unset-after", vec![finish(2), nothing]),
    ];
    for (name, offence) in offences {
        let sent = posts(name, 2, &[]).into_iter().map(post_request).collect();
        let status = assert_refused(
            upload_messages(&mut client, [sent, offence].concat()).await,
            Code::InvalidArgument,
            reason::UPLOAD_PROTOCOL,
        );
        assert_eq!(status.get_details_error_info().unwrap().metadata["index"], "2", "{name}");
    }
    let log = read_log(&mut client).await;
    assert_eq!(log.len(), 8, "two of each: {:?}", post_ids(&log));
    server.stop().await;
}

#[tokio::test]
async fn an_undecodable_message_ends_an_upload_with_its_index_and_what_came_before_is_stored() {
    let server = TestServer::start().await;
    let good = prost::Message::encode_to_vec(&post_request(post("good", &[])));
    let not_utf8 = [0x0a, 0x03, 0x0a, 0x01, 0xff]; // a post whose id is the byte ff
    let chunks = vec![raw::framed(&good), raw::framed(&not_utf8), raw::framed(&good)];
    let status = raw::status_of(&server.channel(), UPLOAD, chunks).await;
    let status =
        assert_refused(Err::<(), _>(status), Code::InvalidArgument, reason::UNDECODABLE_MESSAGE);
    assert_eq!(status.get_details_error_info().unwrap().metadata["index"], "1");
    assert_eq!(post_ids(&read_log(&mut server.posts()).await), ["good"]);
    server.stop().await;
}

#[tokio::test]
async fn a_message_over_256_kib_ends_an_upload_and_what_came_before_is_stored() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let sent = vec![
        post_request(post("good", &[])),
        post_request(large_post("large", &[], limits::REQUEST_BYTES)),
    ];
    assert_refused(
        upload_messages(&mut client, sent).await,
        Code::ResourceExhausted,
        reason::REQUEST_TOO_LARGE,
    );
    assert_eq!(post_ids(&read_log(&mut client).await), ["good"]);
    server.stop().await;
}

#[tokio::test]
async fn an_accepted_post_is_visible_before_its_upload_ends() {
    let server = TestServer::start().await;
    let mut reader = server.posts();
    let request = quartet::post::v1::ListPostsRequest { follow: true, ..Default::default() };
    let mut seen = list(&mut reader, request).await.unwrap();
    assert!(next(&mut seen).await.snapshot_complete);

    let (messages, receiver) = mpsc::channel(1);
    let mut client = server.posts();
    let uploading =
        tokio::spawn(async move { client.upload_posts(ReceiverStream::new(receiver)).await });
    for n in 0..5 {
        messages.send(post_request(post(format!("p{n}"), &[]))).await.unwrap();
        assert_eq!(post_ids(&next(&mut seen).await.post_messages), [format!("p{n}")]);
    }
    drop(messages);
    let response = soon(uploading).await.unwrap().unwrap().into_inner();
    assert!(!response.complete && response.created_count == 5);
    drop(seen);
    server.stop().await;
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_a_prefix_and_its_repetition_stores_the_rest_once() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let sent: Vec<_> = (0..2000).map(|n| large_post(format!("p{n}"), &[], 100)).collect();
    let mut lengths = Vec::new();
    for cut_after in [1, 30_000, 100_000, 200_000] {
        proxy.to_server(|flow| flow.cut_after = Some(cut_after));
        let mut client = PostServiceClient::new(proxy.channel());
        soon(client.upload_posts(upload_of(sent.clone()))).await.unwrap_err();
        let log = read_log(&mut server.posts()).await;
        let prefix: Vec<_> = sent[..log.len()].iter().map(|post| post.post_id.as_str()).collect();
        assert_eq!(post_ids(&log), prefix);
        lengths.push(log.len());
    }
    assert!(lengths[0] == 0 && lengths[3] > 0 && lengths[3] < 2000, "{lengths:?}");

    proxy.to_server(|flow| flow.cut_after = None);
    let mut client = PostServiceClient::new(proxy.channel());
    let whole = upload(&mut client, sent.clone()).await.unwrap();
    assert!(whole.complete);
    assert_eq!(whole.created_count + whole.duplicate_count, 2000);
    assert_eq!(post_ids(&read_log(&mut server.posts()).await), post_ids(&sent));
    server.stop().await;
}
