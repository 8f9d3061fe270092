//! Follows the log of a server that requires tokens.

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::{checks::token::Tokens, reader::Reader, stage::Client};
use tonic::{Code, Request, Status};

pub async fn follow(
    mut client: Client,
    tokens: &mut Tokens,
    reader: &mut Reader,
    count: usize,
) -> Result<(), Status> {
    let token = tokens.fresh()?;
    while reader.count() < count {
        match follow_with(&mut client, &token, reader, count).await {
            Err(status) if status.code() == Code::Unavailable => {}
            end => return end,
        }
    }
    Ok(())
}

/// Follows after the last batch handled, with this token.
async fn follow_with(
    client: &mut Client,
    token: &str,
    reader: &mut Reader,
    count: usize,
) -> Result<(), Status> {
    let resume_after = reader.batches().last().and_then(|batch| batch.position.clone());
    let list = ListPostsRequest { resume_after, follow: true, ..Default::default() };
    let mut request = Request::new(list);
    let bearer = format!("Bearer {token}").parse();
    let bearer = bearer.map_err(|_| Status::internal("the token is no header value"))?;
    request.metadata_mut().insert("authorization", bearer);
    let mut batches = client.list_posts(request).await?.into_inner();
    while reader.count() < count
        && let Some(batch) = batches.message().await?
    {
        reader.handle(batch);
    }
    Ok(())
}
