//! The limit for lists: encoded posts, written 64 KiB at a time to a bare TCP connection.
//!
//! Every connection receives all of them, each behind a header like gRPC's.

use std::sync::Arc;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{error::Result, posts, proto::PostMessage, wire::put_frame};

/// Posts that the raw server makes itself. The others are filled by an upload.
pub(crate) const POSTS: u64 = 100_000;
const WRITE: usize = 64 * 1024;

pub(super) async fn serve(listener: &TcpListener, frames: Vec<Vec<u8>>) -> Result<()> {
    let frames = Arc::new(frames);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let frames = frames.clone();
        connections.spawn(async move {
            // An error is ignored: the load notices a broken connection.
            let _ = send(stream, &frames).await;
        });
    }
}

async fn send(mut stream: TcpStream, frames: &[Vec<u8>]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = Vec::with_capacity(WRITE * 2);
    for frame in frames {
        buf.extend_from_slice(frame);
        if buf.len() >= WRITE {
            stream.write_all(&buf).await?;
            buf.clear();
        }
    }
    stream.write_all(&buf).await?;
    Ok(stream.shutdown().await?)
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let mut post = PostMessage::default();
    let frame = |index| {
        posts::fill(index, &mut post);
        post.author = posts::author(&post.user_id);
        post.sequence = index as i64 + 1;
        post.create_time = Some(posts::create_time());
        let mut frame = Vec::new();
        put_frame(&post, &mut frame);
        frame
    };
    (0..POSTS).map(frame).collect()
}
