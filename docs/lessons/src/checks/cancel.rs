//! Lesson 10: a cancelled upload is no end.

use futures::{StreamExt as _, stream::BoxStream};
use quartet::post::v1::{
    PostMessage, UploadFinish, UploadPostsRequest, upload_posts_request::Payload,
};
use tonic::Status;

use crate::{stage::posts, verdict::Verdict};

/// The messages of an upload, as a handler receives them.
pub type Upload = BoxStream<'static, Result<UploadPostsRequest, Status>>;

/// Stores whole uploads.
#[derive(Debug, Default)]
pub struct Shelf(Vec<PostMessage>);

impl Shelf {
    /// Stores the posts of a whole upload.
    pub fn store(&mut self, upload: Vec<PostMessage>) {
        self.0.extend(upload);
    }
}

/// The program is a handler that stores whole uploads. It gets one upload that is finished, one
/// that just ends, and one that is cancelled.
///
/// # Errors
/// It stores a part, or not the whole.
pub async fn check(program: impl AsyncFn(Upload, &mut Shelf) -> Result<(), Status>) -> Verdict {
    let finish = Payload::Finish(UploadFinish { post_count: 3 });
    let (end, stored) = store(&program, sent(3).chain([Ok(message(finish))])).await;
    if end.is_err() || stored != 3 {
        return Err(format!("Of a finished upload with 3 posts, the handler stored {stored}."));
    }
    let cancelled = Err(Status::cancelled("the client cancelled the call"));
    let (end, stored) = store(&program, sent(2).chain([cancelled])).await;
    if end.is_ok() || stored != 0 {
        return Err(format!(
            "The client cancelled its upload of 3 posts after 2 of them.\n\
             The handler stored {stored} posts and answered {}.",
            if end.is_ok() { "OK" } else { "with an error" }
        ));
    }
    let (end, stored) = store(&program, sent(2)).await;
    if end.is_ok() || stored != 0 {
        return Err(format!(
            "The upload ended after 2 posts, without a finish: its client may have died.\n\
             The handler stored {stored} posts."
        ));
    }
    Ok(())
}

type Received = Result<UploadPostsRequest, Status>;

async fn store(
    program: &impl AsyncFn(Upload, &mut Shelf) -> Result<(), Status>,
    messages: impl Iterator<Item = Received> + Send + 'static,
) -> (Result<(), Status>, usize) {
    let mut shelf = Shelf::default();
    let end = program(tokio_stream::iter(messages).boxed(), &mut shelf).await;
    (end, shelf.0.len())
}

fn sent(count: usize) -> impl Iterator<Item = Received> + Send {
    posts(count, 10).into_iter().map(|post| Ok(message(Payload::PostMessage(post))))
}

fn message(payload: Payload) -> UploadPostsRequest {
    UploadPostsRequest { payload: Some(payload) }
}
