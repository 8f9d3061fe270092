//! Authors: the Post service calls the User service seldom, and survives its absence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use quartet::{
    post::v1::{ListPostsRequest, PostMessage, tag_feed_response::Payload},
    reason,
    user::v1::{
        GetUserRequest, GetUserResponse, ListUsersRequest, ListUsersResponse, UserMessage,
        user_service_server::UserServiceServer,
    },
    v1::user::user_server::{User, UserServer},
};
use quartet_connection::HttpService;
use quartet_log::{MemoryLog, NewPost, PostLog};
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Code, Request, Response, Status, service::Routes};
use tonic_types::StatusExt as _;

use crate::support::{
    Feed, TestServer, assert_refused,
    fakes::{CountingUsers, Mood},
    list, listed, next, page, post,
    server::serve_routes,
    upload,
};

/// A Post service whose log has one post of each of these users, stored while User was up.
struct Setup {
    server: TestServer,
    users: CountingUsers,
    _serving: JoinHandle<()>,
}

impl Setup {
    async fn with_posts_of(user_ids: &[&str]) -> Self {
        let log = MemoryLog::new();
        let posts = user_ids.iter().enumerate().map(|(n, user_id)| {
            let post =
                PostMessage { user_id: user_id.to_string(), ..post(format!("p{n}"), &["a"]) };
            NewPost::of(&post, prost_types::Timestamp::default())
        });
        log.append(posts.collect()).await.unwrap().await.unwrap();
        let users = CountingUsers::default();
        let (channel, serving) = users.serve();
        let server = TestServer::of_parts(Arc::new(log), channel);
        Self { server, users, _serving: serving }
    }

    async fn authors(&self) -> Result<Vec<String>, Status> {
        let messages = listed(&mut self.server.posts(), ListPostsRequest::default()).await?;
        let posts = messages.into_iter().flat_map(|message| message.post_messages);
        Ok(posts.map(|post| post.author).collect())
    }
}

fn refuses() -> Mood {
    Mood::Refuses(Status::internal("a secret of the User service"))
}

#[tokio::test(start_paused = true)]
async fn a_name_is_fetched_once_in_60_s_and_never_once_per_post() {
    let setup = Setup::with_posts_of(&["7"; 900]).await;
    for _ in 0..5 {
        assert_eq!(setup.authors().await.unwrap(), vec!["name of 7"; 900]);
    }
    assert_eq!(setup.users.calls("7"), 1);
    tokio::time::sleep(Duration::from_secs(59)).await;
    setup.authors().await.unwrap();
    assert_eq!(setup.users.calls("7"), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    setup.authors().await.unwrap();
    setup.users.called("7", 2).await;
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_readers_share_one_call_in_flight() {
    let setup = Setup::with_posts_of(&["7"]).await;
    setup.users.set(Mood::Hangs);
    let readers = join_all((0..20).map(|_| setup.authors()));
    let answer = async {
        setup.users.called("7", 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await; // all readers wait by now
        setup.users.set(Mood::Answers);
    };
    let (answers, ()) = tokio::join!(readers, answer);
    assert!(answers.into_iter().all(|authors| authors.unwrap() == ["name of 7"]));
    assert_eq!(setup.users.calls("7"), 1);
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_does_not_take_the_answer_from_the_others() {
    let setup = Setup::with_posts_of(&["7"]).await;
    setup.users.set(Mood::Hangs);
    let first = tokio::time::timeout(Duration::from_secs(1), setup.authors());
    let second = async {
        setup.users.called("7", 1).await;
        setup.authors().await
    };
    let answer = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        setup.users.set(Mood::Answers);
    };
    let (gone, authors, ()) = tokio::join!(first, second, answer);
    assert!(gone.is_err());
    assert_eq!(authors.unwrap(), ["name of 7"]);
    assert_eq!(setup.users.calls("7"), 1);
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_to_user_ends_after_2_s_for_every_waiting_reader() {
    let setup = Setup::with_posts_of(&["7"]).await;
    setup.users.set(Mood::Hangs);
    let since = Instant::now();
    for outcome in join_all((0..5).map(|_| setup.authors())).await {
        assert_refused(outcome, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    }
    assert!(since.elapsed().abs_diff(Duration::from_secs(2)) < Duration::from_millis(100));
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_name_ends_readers_unavailable_and_a_resume_skips_nothing() {
    let setup = Setup::with_posts_of(&["known", "known", "missing"]).await;
    let mut client = setup.server.posts();
    upload(&mut client, []).await.unwrap();
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };

    setup.users.set(refuses());
    let mut stream = list(&mut client, request.clone()).await.unwrap();
    let status =
        assert_refused(stream.message().await, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    let paged = page(&mut client, "missing", None).await;
    assert_refused(paged, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    let mut feed = Feed::open(&mut client).await;
    feed.join_all_from_oldest().await;
    let start = feed.joined().await.position.unwrap();
    let fed = feed.until_end().await;
    assert_refused(fed, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    assert!(feed.received().sequences().is_empty());
    assert_eq!(feed.received().position(), 0, "no position past an unsent post");

    setup.users.set(Mood::Answers);
    let mut stream = list(&mut client, request).await.unwrap();
    assert_eq!(next(&mut stream).await.post_messages.len(), 3);
    let mut resumed = Feed::open(&mut client).await;
    resumed.join_after(&["a"], start).await;
    resumed.half_close();
    resumed.until_end().await.unwrap();
    assert_eq!(resumed.received().sequences(), [1, 2, 3]);
    drop(stream);
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn known_names_are_served_without_delay_while_user_is_down() {
    let setup = Setup::with_posts_of(&["7"]).await;
    setup.authors().await.unwrap();
    for mood in [refuses(), Mood::Hangs] {
        setup.users.set(mood);
        tokio::time::sleep(Duration::from_secs(61)).await; // the name is stale now
        let since = Instant::now();
        assert_eq!(setup.authors().await.unwrap(), ["name of 7"]);
        assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
    }
    // A writer whose name is known can publish too.
    let mut feed = Feed::open(&mut setup.server.posts()).await;
    feed.publish(PostMessage { user_id: "7".to_owned(), ..post("new", &[]) }).await;
    assert_eq!(feed.receipt().await.sequence, 2);
    drop(feed);
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_publish_whose_user_cannot_be_checked_gets_no_receipt() {
    let setup = Setup::with_posts_of(&["7"]).await;
    setup.authors().await.unwrap();
    setup.users.set(refuses());
    let mut feed = Feed::open(&mut setup.server.posts()).await;
    feed.publish(PostMessage { user_id: "7".to_owned(), ..post("one", &[]) }).await;
    feed.publish(PostMessage { user_id: "8".to_owned(), ..post("two", &[]) }).await;
    let end = feed.until_end().await;
    assert_refused(end, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    let receipts: Vec<_> = feed.receipts().iter().map(|receipt| receipt.sequence).collect();
    assert_eq!(receipts, [2], "the owed receipt comes first");

    let mine = [post("three", &[]), PostMessage { user_id: "8".to_owned(), ..post("four", &[]) }];
    let uploaded = upload(&mut setup.server.posts(), mine.map(by_seven_first())).await;
    assert_refused(uploaded, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    setup.users.set(Mood::Answers);
    assert_eq!(
        setup.authors().await.unwrap().len(),
        3,
        "the post before the refused one is stored"
    );
    setup.server.stop().await;

    fn by_seven_first() -> impl FnMut(PostMessage) -> PostMessage {
        |post| match post.user_id.as_str() {
            "1" => PostMessage { user_id: "7".to_owned(), ..post },
            _ => post,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn posts_of_an_unknown_user_have_an_empty_author() {
    let setup = Setup::with_posts_of(&["7", "nobody", "8"]).await;
    assert_eq!(setup.authors().await.unwrap(), ["name of 7", "", "name of 8"]);
    setup.authors().await.unwrap();
    assert_eq!(setup.users.calls("nobody"), 1, "NOT_FOUND is cached too");
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_from_the_user_service_is_not_passed_on() {
    let setup = Setup::with_posts_of(&["7"]).await;
    let mut downstream = Status::permission_denied("a secret of the User service");
    downstream.metadata_mut().insert("x-secret", "yes".parse().unwrap());
    setup.users.set(Mood::Refuses(downstream));
    let status =
        assert_refused(setup.authors().await, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
    assert!(!format!("{status:?}").contains("secret"), "{status:?}");
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_user_hangs_a_stale_name_costs_one_call_in_7_s() {
    let setup = Setup::with_posts_of(&["7"]).await;
    setup.authors().await.unwrap();
    setup.users.set(Mood::Hangs);
    tokio::time::sleep(Duration::from_secs(61)).await;
    // Each call ends after 2 s, and the next one waits for 5 s.
    for _ in 0..70 {
        setup.authors().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!((5..=6).contains(&(setup.users.calls("7") - 1)), "{}", setup.users.calls("7"));
    setup.server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_stream_shows_a_new_name_once_the_old_one_is_60_s_old() {
    let setup = Setup::with_posts_of(&[]).await;
    let mut feed = Feed::joined_to(&mut setup.server.posts(), &["a"]).await;
    for (n, name) in ["first", "second", "third"].into_iter().enumerate() {
        setup.users.set(Mood::Renames(name));
        // The post that finds the old name stale is still sent with it.
        feed.publish(PostMessage { user_id: "7".to_owned(), ..post(format!("a{n}"), &["a"]) })
            .await;
        feed.until_post(&format!("a{n}")).await;
        setup.users.called("7", n + 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        feed.publish(PostMessage { user_id: "7".to_owned(), ..post(format!("b{n}"), &["a"]) })
            .await;
        feed.until_post(&format!("b{n}")).await;
        let Some(Payload::Posts(batch)) = feed.events.last() else { panic!("{:?}", feed.events) };
        assert_eq!(batch.post_messages[0].author, name);
        assert_eq!(setup.users.calls("7"), n + 1);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    drop(feed);
    setup.server.stop().await;
}

/// The User service of the blog: its answer for an unknown user has no user.
#[derive(Clone, Default)]
struct BlogsUsers(Arc<AtomicUsize>);

impl User for BlogsUsers {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let user_id = request.into_inner().user_id;
        let name = format!("the blog's {user_id}");
        let user = UserMessage { user_id, name, ..UserMessage::default() };
        let user_message = (user.user_id != "nobody").then_some(user);
        Ok(Response::new(GetUserResponse { user_message }))
    }

    async fn list_users(
        &self,
        _: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        Ok(Response::new(ListUsersResponse::default()))
    }
}

/// The blog's Go server answers under `/v1.user.User`; `/user.v1.UserService` is UNIMPLEMENTED.
#[tokio::test(start_paused = true)]
async fn a_user_service_under_the_blogs_name_is_found_and_remembered() {
    let (suites, blogs) = (CountingUsers::default(), BlogsUsers::default());
    suites.set(Mood::Refuses(Status::unimplemented("unknown service user.v1.UserService")));
    let routes = Routes::new(UserServiceServer::new(suites.clone()))
        .add_service(UserServer::new(blogs.clone()));
    let (channel, _serving) = serve_routes(HttpService::new(routes.prepare()));
    let server = TestServer::of_parts(Arc::new(MemoryLog::new()), channel);
    let mut client = server.posts();
    let by = |user_id: &str| PostMessage { user_id: user_id.to_owned(), ..post(user_id, &["a"]) };
    for user_id in ["6", "7"] {
        upload(&mut client, [by(user_id)]).await.unwrap();
    }
    let answer = listed(&mut client, ListPostsRequest::default()).await.unwrap();
    let posts = answer.into_iter().flat_map(|message| message.post_messages);
    let authors: Vec<_> = posts.map(|post| post.author).collect();
    assert_eq!(authors, ["the blog's 6", "the blog's 7"]);
    let asked = |user_id| (suites.calls(user_id), blogs.0.load(Ordering::Relaxed));
    assert_eq!(asked("6"), (1, 2));
    assert_eq!(asked("7"), (0, 2));

    let summary = upload(&mut client, [by("nobody")]).await.unwrap();
    assert_eq!(summary.reject_count, 1, "{summary:?}");
}
