//! Eight sample posts by the five sample users.

use std::time::SystemTime;

use quartet::post::v1::PostMessage;

use quartet_log::{LogError, NewPost, PostLog};

/// Id, user id, title, body, tags.
type Sample = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const SAMPLES: [Sample; 8] = [
    (
        "1",
        "1",
        "gRPC 구축하기 (1)",
        "서비스는 proto 파일에서 시작한다",
        &["gRPC", "Golang", "server", "coding", "protobuf"],
    ),
    (
        "2",
        "1",
        "gRPC 구축하기 (2)",
        "서비스 두 개가 서로를 부른다",
        &["gRPC", "Golang", "server", "coding", "protobuf"],
    ),
    (
        "3",
        "1",
        "gRPC 구축하기 (3)",
        "스트림은 순서를 지킨다",
        &["gRPC", "Golang", "server", "streaming"],
    ),
    (
        "4",
        "2",
        "How to learn Golang",
        "Read the tour, then write a server.",
        &["Golang", "tutorial"],
    ),
    (
        "5",
        "2",
        "How to learn coding",
        "Begin with something that you want to exist.",
        &["tutorial", "coding"],
    ),
    (
        "6",
        "3",
        "Four ways to call",
        "Unary, server streaming, client streaming, bidirectional.",
        &["gRPC", "streaming"],
    ),
    ("7", "4", "Wie man Rust lernt", "Mit dem Compiler reden.", &["Rust", "tutorial"]),
    (
        "8",
        "5",
        "Why order matters",
        "Because a reader that missed a post does not know it.",
        &["streaming"],
    ),
];

/// Adds the sample posts to an empty log. Does nothing if the log has posts.
pub async fn seed(log: &dyn PostLog) -> Result<(), LogError> {
    if *log.head().borrow() > 0 {
        return Ok(());
    }
    let posts = SAMPLES.map(|(post_id, user_id, title, body, tags)| {
        let post = PostMessage {
            post_id: post_id.to_owned(),
            user_id: user_id.to_owned(),
            title: title.to_owned(),
            body: body.to_owned(),
            tags: tags.iter().map(ToString::to_string).collect(),
            ..PostMessage::default()
        };
        NewPost::of(&post, SystemTime::now().into())
    });
    log.append(posts.into_iter().collect()).await?.await?;
    Ok(())
}
