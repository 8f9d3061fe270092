//! Uploads: one stream of posts with ids of their own.

use super::{connection::Connection, list::expect, options::Options};
use crate::{
    error::Result,
    posts,
    proto::{
        PostMessage, UploadFinish, UploadPostsRequest, UploadPostsResponse,
        upload_posts_request::Payload,
    },
    usage::{Figures, Meter},
    wire::put_frame,
};

/// Bytes that are handed to HTTP/2 at once.
const CHUNK: usize = 64 * 1024;

pub(super) async fn upload(options: &Options) -> Result<Figures> {
    let connection = Connection::open(&options.address, options.ca.as_deref()).await?;
    let meter = Meter::start(options.pid)?;
    let mut call = connection.begin("UploadPosts").await?;
    let (mut chunk, mut bytes) = (Vec::with_capacity(CHUNK * 2), 0);
    let mut request = Payload::PostMessage(PostMessage::default());
    for index in 0..options.count {
        bytes += put_post(index, &mut request, &mut chunk);
        if chunk.len() >= CHUNK {
            call.requests.send(std::mem::take(&mut chunk).into()).await?;
            chunk.reserve(CHUNK * 2);
        }
    }
    let finish = Payload::Finish(UploadFinish { post_count: options.count as i64 });
    put_frame(&UploadPostsRequest { payload: Some(finish) }, &mut chunk);
    call.requests.send(chunk.into()).await?;
    call.requests.finish()?;

    let mut summary = UploadPostsResponse::default();
    let mut messages = call.responses.messages().await?;
    messages.read_all(|message| Ok(prost::Message::merge(&mut summary, message)?)).await?;
    expect("created_count", summary.created_count as u64, options.count)?;
    expect("complete", summary.complete.into(), 1)?;
    Ok(Figures { bytes, ..meter.stop(options.count)? })
}

/// Appends the request for a post, whose memory is reused, and says how large the post is.
fn put_post(index: u64, request: &mut Payload, chunk: &mut Vec<u8>) -> u64 {
    let Payload::PostMessage(post) = request else { return 0 };
    posts::fill(index, post);
    let len = prost::Message::encoded_len(post) as u64;
    let message = UploadPostsRequest { payload: Some(Payload::PostMessage(std::mem::take(post))) };
    put_frame(&message, chunk);
    if let Some(used) = message.payload {
        *request = used;
    }
    len
}
