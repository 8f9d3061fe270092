//! Fuzzes the frame guard with any bytes in pieces of any size.
//!
//! Whatever a peer sends, the guard does not panic and passes it on unchanged. If it ends the
//! connection, the peer receives whole frames, and a GOAWAY as the last.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use quartet_connection::{
    Settings,
    activity::Activity,
    guard::{Guard, frames::FrameScanner},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// FrameScanner that a server sends meanwhile: SETTINGS, a header block in two frames, DATA.
const ANSWER: &[u8] = &[
    0, 0, 0, 4, 0, 0, 0, 0, 0, // SETTINGS
    0, 0, 2, 1, 0, 0, 0, 0, 1, 7, 7, // HEADERS
    0, 0, 1, 9, 4, 0, 0, 0, 1, 7, // CONTINUATION, the end of the block
    0, 0, 3, 0, 0, 0, 0, 0, 1, 7, 7, 7, // DATA
];

// The first byte is the size of the pieces in both directions.
fuzz_target!(|input: &[u8]| {
    let Some((piece, sent)) = input.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(run(usize::from(*piece) + 1, sent));
});

async fn run(piece: usize, sent: &[u8]) {
    let (near, far) = duplex(piece);
    let guard = Guard::new(near, &Settings::default(), Arc::new(Activity::default()));
    let (mut incoming, mut outgoing) = tokio::io::split(far);
    let (mut reader, mut writer) = tokio::io::split(guard);
    let peer_sends = async {
        let _ = outgoing.write_all(sent).await;
        let _ = outgoing.shutdown().await;
    };
    let server = async {
        let read = async {
            let mut passed = Vec::new();
            let ended = reader.read_to_end(&mut passed).await;
            (passed, ended)
        };
        let write = async {
            for bytes in ANSWER.chunks(piece) {
                if writer.write_all(bytes).await.is_err() {
                    return;
                }
            }
            let _ = writer.flush().await;
        };
        let ((passed, ended), ()) = tokio::join!(read, write);
        drop((reader, writer));
        (passed, ended)
    };
    let peer_receives = async {
        let mut received = Vec::new();
        let _ = incoming.read_to_end(&mut received).await;
        received
    };
    let ((), (passed, ended), received) = tokio::join!(peer_sends, server, peer_receives);
    assert!(sent.starts_with(&passed), "what is passed on is unchanged");
    let mut frames = FrameScanner::of_server();
    let mut last = None;
    frames.scan(&received, |frame| last = Some(frame.kind));
    match ended {
        Ok(_) => assert_eq!(passed, sent),
        Err(_) => assert!(frames.at_boundary() && last == Some(7), "the last frame is a GOAWAY"),
    }
}
