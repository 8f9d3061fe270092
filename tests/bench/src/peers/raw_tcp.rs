//! The limit for lists: posts that are encoded already, written 64 KiB at a time to a bare TCP
//! connection.
//!
//! Who connects gets all of them, each behind a header as gRPC's.

use std::sync::Arc;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{error::Result, posts, proto::PostMessage, wire::put_frame};

const WRITE: usize = 64 * 1024;

pub(super) async fn serve(listener: &TcpListener, frames: Vec<Vec<u8>>) -> Result<()> {
    let frames = Arc::new(frames);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let frames = frames.clone();
        connections.spawn(async move {
            // The load notices a connection that breaks.
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
    (0..posts::MADE).map(frame).collect()
}
