//! ListPostsByUserId.

use prost::Message as _;
use quartet::{
    limits,
    post::v1::{ListPostsByUserIdRequest, PostMessage},
};

use crate::support::{
    TestServer, after, large_post, page, post, post_ids, posts, raw, read_log, sequence, upload,
};

#[tokio::test]
async fn a_known_or_unknown_user_without_posts_has_an_empty_page() {
    let server = TestServer::start().await;
    upload(&mut server.posts(), [post("p", &[])]).await.unwrap();
    for user_id in ["2", "nobody"] {
        let page = page(&mut server.posts(), user_id, None).await.unwrap();
        assert!(page.post_messages.is_empty() && !page.truncated);
        assert_eq!(sequence(&page.position), 1, "the position covers the whole log");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_in_several_frames_is_answered_like_one_in_a_single_frame() {
    let server = TestServer::start().await;
    upload(&mut server.posts(), posts("p", 3, &[])).await.unwrap();
    let answer = async |chunks| {
        let path = "/post.v1.PostService/ListPostsByUserId";
        let (mut headers, data, trailers) =
            raw::all_of(&server.channel(), path, http::HeaderMap::new(), chunks).await;
        headers.remove("x-request-id").expect("every call has an id");
        (headers, data, trailers)
    };
    let of = |user_id: &str| {
        ListPostsByUserIdRequest { user_id: user_id.to_owned(), resume_after: None }.encode_to_vec()
    };
    for (message, is_ok) in [(of("1"), true), (of("no id"), false), (b"\xff".to_vec(), false)] {
        let whole = raw::framed(&message);
        let pieces = vec![whole.slice(..2), whole.slice(2..6), whole.slice(6..)];
        let answered = answer(vec![whole]).await;
        assert_eq!(answered, answer(pieces).await, "{message:?}");
        assert_eq!(answered.2.is_some_and(|it| it["grpc-status"] == "0"), is_ok, "{message:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_one_users_posts_join_without_a_gap_or_a_duplicate() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let by_turns = (0..4600).map(|n| {
        let user_id = if n % 2 == 0 { "1" } else { "2" };
        PostMessage { user_id: user_id.to_owned(), ..post(format!("p{n}"), &[]) }
    });
    upload(&mut client, by_turns).await.unwrap();

    let (mut sizes, mut read, mut position) = (Vec::new(), Vec::new(), None);
    loop {
        let page = page(&mut client, "2", position).await.unwrap();
        sizes.push(page.post_messages.len());
        read.extend(page.post_messages);
        position = page.position;
        if !page.truncated {
            break;
        }
    }
    assert_eq!(sizes, [limits::PAGE_POSTS, limits::PAGE_POSTS, 300]);
    assert_eq!(sequence(&position), 4600);
    let log = read_log(&mut client).await;
    let theirs: Vec<_> = log.into_iter().filter(|post| post.user_id == "2").collect();
    assert_eq!(read, theirs);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_large_posts_ends_at_one_mebibyte() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let large = (0..40).map(|n| large_post(format!("p{n}"), &[], limits::BODY_BYTES));
    upload(&mut client, large).await.unwrap();

    let first = page(&mut client, "1", None).await.unwrap();
    assert!(first.truncated);
    assert!(first.encoded_len() <= limits::PAGE_BYTES, "{} bytes", first.encoded_len());
    assert_eq!(first.post_messages.len(), 15, "one more would be over 1 MiB");
    let second = page(&mut client, "1", first.position).await.unwrap();
    assert_eq!(second.post_messages[0].sequence, 16);
    server.stop().await;
}

#[tokio::test]
async fn a_page_after_the_last_holds_only_what_is_new() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("old", 3, &[])).await.unwrap();
    let last = page(&mut client, "1", None).await.unwrap();
    assert_eq!((last.post_messages.len(), last.truncated), (3, false));
    upload(&mut client, posts("new", 2, &[])).await.unwrap();
    let new = page(&mut client, "1", last.position).await.unwrap();
    assert_eq!(post_ids(&new.post_messages), ["new0", "new1"]);
    let rest = page(&mut client, "1", after(4)).await.unwrap();
    assert_eq!(post_ids(&rest.post_messages), ["new1"], "a position without log_id is valid too");
    server.stop().await;
}
