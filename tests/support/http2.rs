//! A client that speaks HTTP/2 frame by frame, to send what no library would.

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{raw::framed, server::TestServer, time::soon};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub const LIST: &str = "/post.v1.PostService/ListPosts";
pub const PAGE: &str = "/post.v1.PostService/ListPostsByUserId";
pub const UPLOAD: &str = "/post.v1.PostService/UploadPosts";

pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Bytes,
}

impl Frame {
    /// The error code of an RST_STREAM, or of a GOAWAY, where it follows a stream id.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn last_stream(&self) -> u32 {
        assert_eq!(self.kind, GOAWAY);
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    pub fn debug(&self) -> &str {
        assert_eq!(self.kind, GOAWAY);
        str::from_utf8(&self.payload[8..]).unwrap()
    }

    pub fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub fn encode(&self) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.put_uint(self.payload.len() as u64, 3);
        bytes.put_slice(&[self.kind, self.flags]);
        bytes.put_u32(self.stream);
        bytes.put_slice(&self.payload);
        bytes
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Frame {
    Frame { kind, flags, stream, payload: payload.into() }
}

pub fn ping() -> Frame {
    frame(PING, 0, 0, vec![7; 8])
}

pub fn window_update(stream: u32, bytes: u32) -> Frame {
    frame(WINDOW_UPDATE, 0, stream, bytes.to_be_bytes().to_vec())
}

pub fn reset(stream: u32, code: u32) -> Frame {
    frame(RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
}

/// One setting: its number and its value.
pub fn setting(id: u16, value: u32) -> Frame {
    let mut payload = BytesMut::new();
    payload.put_u16(id);
    payload.put_u32(value);
    frame(SETTINGS, 0, 0, payload)
}

/// The headers of a gRPC call, each a literal without indexing (RFC 7541, section 6.2.2).
pub fn call(stream: u32, path: &str, more: &[(&str, &str)]) -> Frame {
    call_to("test", stream, path, more)
}

/// The same with this `:authority`.
pub fn call_to(authority: &str, stream: u32, path: &str, more: &[(&str, &str)]) -> Frame {
    let mut block = BytesMut::new();
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in headers.iter().chain(more) {
        block.put_u8(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte holds the length");
            block.put_u8(text.len() as u8);
            block.put_slice(text.as_bytes());
        }
    }
    frame(HEADERS, END_HEADERS, stream, block)
}

/// A gRPC message in one frame.
pub fn message(stream: u32, message: &impl prost::Message, flags: u8) -> Frame {
    frame(DATA, flags, stream, framed(&message.encode_to_vec()))
}

/// One connection.
pub struct RawClient {
    io: DuplexStream,
}

impl RawClient {
    /// Over this pipe, without sending anything yet.
    pub fn silent(io: DuplexStream) -> Self {
        Self { io }
    }

    /// Opens a connection with a preface and empty settings.
    pub async fn open(server: &TestServer) -> Self {
        Self::open_with(server, 64 * 1024, frame(SETTINGS, 0, 0, vec![])).await
    }

    /// The same with these settings, over a pipe that holds this many bytes.
    pub async fn open_with(server: &TestServer, bytes: usize, settings: Frame) -> Self {
        Self::connect(server.pipe(bytes).await, settings).await
    }

    /// Sends the preface and these settings.
    pub async fn connect(io: DuplexStream, settings: Frame) -> Self {
        let mut client = Self { io };
        client.bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.send(settings).await;
        client
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        soon(self.io.write_all(bytes)).await.unwrap();
    }

    /// Sends a frame. Errors are ignored: a closed connection shows when reading.
    pub async fn send(&mut self, frame: Frame) {
        let _ = soon(self.io.write_all(&frame.encode())).await;
    }

    /// Waits for the next frame without a timeout; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.io.read_exact(&mut header).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(stream);
        Some(Frame { kind, flags, stream, payload: payload.into() })
    }

    /// The next frame of a kind; skips the others.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection ended too early");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// All frames up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Answers pings until the connection ends. Returns the GOAWAYs that arrived.
    pub async fn behave(&mut self) -> Vec<Frame> {
        let mut goaways = Vec::new();
        while let Some(next) = self.next().await {
            match next.kind {
                PING if !next.is_ack() => self.send(frame(PING, ACK, 0, next.payload)).await,
                GOAWAY => goaways.push(next),
                _ => {}
            }
        }
        goaways
    }
}
