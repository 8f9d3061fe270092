//! Unary: one call per page.

use std::{
    io,
    sync::{Arc, Mutex},
};

use clap::Parser as _;
use futures::{TryStreamExt as _, future::join};
use quartet::post::v1::ListPostsByUserIdRequest;
use quartet_client::{
    Error,
    command::{Io, unary},
    list_user_posts,
};
use tokio::task::JoinSet;
use tonic::Status;

use crate::fake::{Fake, page, position, within};

fn request() -> ListPostsByUserIdRequest {
    ListPostsByUserIdRequest { user_id: "1".into(), resume_after: None }
}

#[tokio::test]
async fn pages_are_requested_until_one_is_not_truncated() {
    let mut server = Fake::start().await;
    let pages = list_user_posts(server.channel(), request()).try_collect::<Vec<_>>();
    let script = async {
        let call = server.accept_unary().await;
        assert_eq!(call.request, request());
        call.answer.send(Ok(page(&[1, 4], 5, true))).unwrap();
        let call = server.accept_unary().await;
        assert_eq!(call.request.resume_after, Some(position(5)));
        call.answer.send(Ok(page(&[6], 9, false))).unwrap();
    };
    let (pages, ()) = within(join(pages, script)).await;
    let posts = pages.unwrap().into_iter().flat_map(|page| page.post_messages);
    assert_eq!(posts.map(|post| post.sequence).collect::<Vec<_>>(), [1, 4, 6]);
}

#[tokio::test]
async fn a_truncated_page_without_posts_is_an_error() {
    let mut server = Fake::start().await;
    let pages = list_user_posts(server.channel(), request()).try_collect::<Vec<_>>();
    let script = async {
        let call = server.accept_unary().await;
        call.answer.send(Ok(page(&[], 5, true))).unwrap();
    };
    let (pages, ()) = within(join(pages, script)).await;
    assert!(matches!(pages, Err(Error::Protocol(_))), "{pages:?}");
}

#[tokio::test]
async fn an_error_status_ends_the_pages() {
    let mut server = Fake::start().await;
    let pages = list_user_posts(server.channel(), request()).try_collect::<Vec<_>>();
    let script = async {
        let call = server.accept_unary().await;
        call.answer.send(Err(Status::invalid_argument("user_id is empty"))).unwrap();
    };
    let (pages, ()) = within(join(pages, script)).await;
    assert_eq!(pages.unwrap_err().to_string(), "INVALID_ARGUMENT: user_id is empty");
}

#[derive(Clone, Default)]
struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn another_program_can_run_a_command_on_a_task_with_writers_of_its_own() {
    let mut server = Fake::start().await;
    let args = ["unary", "--user-id", "1", "--endpoint", &server.url()];
    let args = unary::Args::try_parse_from(args).unwrap();
    let (out, err) = (SharedBuffer::default(), SharedBuffer::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(unary::run(args, Io::new(io::empty(), out.clone(), err.clone())));
    server.accept_unary().await.answer.send(Ok(page(&[1], 1, false))).unwrap();
    within(tasks.join_next()).await.unwrap().unwrap().unwrap();
    let out = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert!(out.starts_with("→ call ") && out.ends_with("← page     1 post up to 1\n"), "{out}");
    assert!(!err.0.lock().unwrap().is_empty());
}
