//! ListPosts.

use quartet::post::v1::ListPostsRequest;

use crate::support::{TestServer, all, list, post, upload};

#[tokio::test]
async fn a_list_of_an_empty_log_is_one_message_that_says_so() {
    let server = TestServer::start().await;
    let messages =
        all(list(&mut server.posts(), ListPostsRequest::default()).await.unwrap()).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].snapshot_complete && messages[0].post_messages.is_empty());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_list_shows_the_posts_of_an_upload_in_its_order_with_their_author() {
    let server = TestServer::start().await;
    let response = upload(&mut server.posts(), (0..1000).map(|n| post(format!("p{n}"), &["a"])))
        .await
        .unwrap();
    assert!(response.complete);
    assert_eq!((response.created_count, response.reject_count), (1000, 0));
    let messages =
        all(list(&mut server.posts(), ListPostsRequest::default()).await.unwrap()).await.unwrap();
    let posts: Vec<_> = messages.iter().flat_map(|m| &m.post_messages).collect();
    assert_eq!(posts.len(), 1000);
    for (n, post) in posts.iter().enumerate() {
        assert_eq!(post.post_id, format!("p{n}"));
        assert_eq!(post.sequence, n as i64 + 1);
        assert_eq!(post.author, "Henry");
    }
    server.stop().await.unwrap();
}
