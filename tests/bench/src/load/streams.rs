//! Many calls on one connection, with the minimum of HTTP/2 (RFC 9113) for reading them.
//!
//! A load shares the machine with its server, and its work for one message delays all later ones.
//! The `h2` crate wakes a task for every frame; here one task reads the data of all calls, like
//! clients of NATS.
//!
//! Headers are not read. A call has ended when its trailers arrived; its success shows in the
//! messages it received.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    error::Result,
    wire::{MessageSplitter, put_frame},
};

/// The same values as the load on the `h2` crate.
use super::connection::{FRAME, WINDOW};

const READ: usize = 256 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The initial window of every connection.
const DEFAULT_WINDOW: u32 = 65_535;
/// Bytes before a frame's payload.
const HEADER: usize = 9;

// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

// Flags of frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// Something that arrived for a call.
#[derive(Debug)]
pub(super) enum Event<'a> {
    Message(&'a [u8]),
    Ended,
}

/// A connection with its calls, which are numbered from 0.
#[derive(Debug)]
pub(super) struct Streams {
    stream: TcpStream,
    /// Received bytes that are not consumed yet.
    received: Vec<u8>,
    calls: Calls,
}

/// The calls, and the bytes to send for them.
#[derive(Debug, Default)]
struct Calls {
    calls: Vec<Call>,
    /// Bytes of DATA since the connection's last window update.
    taken: u32,
    out: Vec<u8>,
}

#[derive(Debug, Default)]
struct Call {
    frames: MessageSplitter,
    taken: u32,
    ended: bool,
}

impl Streams {
    pub(super) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut calls = Calls::default();
        calls.out.extend_from_slice(PREFACE);
        // No push, a stream's window, a frame's size.
        let settings = [(2, 0), (4, WINDOW), (5, FRAME)];
        let settings = settings
            .map(|(id, value): (u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        put(SETTINGS, 0, 0, &settings.concat(), &mut calls.out);
        put_window(0, WINDOW - DEFAULT_WINDOW, &mut calls.out);
        Ok(Self { stream, received: Vec::new(), calls })
    }

    /// Begins a call of the Post service with one message; with `more`, others may follow. It is
    /// sent before the next read.
    pub(super) fn ask(&mut self, method: &str, message: &impl prost::Message, more: bool) {
        let id = self.calls.calls.len() as u32 * 2 + 1;
        self.calls.calls.push(Call::default());
        let mut body = Vec::new();
        put_frame(message, &mut body);
        put(HEADERS, END_HEADERS, id, &headers(method), &mut self.calls.out);
        put(DATA, if more { 0 } else { END_STREAM }, id, &body, &mut self.calls.out);
    }

    /// The number of calls so far, which is the number of the next one.
    pub(super) fn begun(&self) -> usize {
        self.calls.calls.len()
    }

    /// Waits for data and passes on all complete frames.
    pub(super) async fn read(
        &mut self,
        mut each: impl FnMut(usize, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        self.stream.write_all(&self.calls.out).await?;
        self.calls.out.clear();
        self.received.reserve(READ);
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err("the server closed the connection".into());
        }
        let mut rest = &self.received[..];
        while let Some(len) = frame_len(rest).filter(|len| *len <= rest.len()) {
            let (frame, behind) = rest.split_at(len);
            self.calls.frame(frame, &mut each)?;
            rest = behind;
        }
        let used = self.received.len() - rest.len();
        self.received.drain(..used);
        Ok(())
    }
}

impl Calls {
    fn frame(
        &mut self,
        frame: &[u8],
        each: &mut impl FnMut(usize, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        let (header, payload) = frame.split_at(HEADER);
        let (kind, flags) = (header[3], header[4]);
        let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        match kind {
            DATA => self.data(id, flags, payload, each),
            HEADERS if flags & END_STREAM != 0 => {
                self.call(id)?.ended = true;
                each(number(id), Event::Ended)
            }
            SETTINGS | PING if flags & ACK == 0 => {
                // SETTINGS and pings need an acknowledgement, pings with their payload.
                let echo = if kind == PING { payload } else { &[] };
                put(kind, ACK, 0, echo, &mut self.out);
                Ok(())
            }
            RST_STREAM if !self.call(id)?.ended => Err(format!("call {id} was reset").into()),
            GOAWAY => Err("the server goes away".into()),
            _ => Ok(()),
        }
    }

    fn data(
        &mut self,
        id: u32,
        flags: u8,
        payload: &[u8],
        each: &mut impl FnMut(usize, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        if flags & (PADDED | END_STREAM) != 0 {
            return Err("DATA with padding, or without trailers".into());
        }
        let call = self.call(id)?;
        call.frames.push(payload, |message| each(number(id), Event::Message(message)))?;
        call.taken += payload.len() as u32;
        let window = (call.taken > WINDOW / 2).then(|| std::mem::take(&mut call.taken));
        if let Some(window) = window {
            put_window(id, window, &mut self.out);
        }
        self.taken += payload.len() as u32;
        if self.taken > WINDOW / 2 {
            put_window(0, std::mem::take(&mut self.taken), &mut self.out);
        }
        Ok(())
    }

    fn call(&mut self, id: u32) -> Result<&mut Call> {
        self.calls.get_mut(number(id)).ok_or_else(|| "a frame of an unknown call".into())
    }
}

/// The number of the call with this stream id.
fn number(id: u32) -> usize {
    id as usize / 2
}

/// The length of the frame that begins here, once it is known.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let len = bytes.get(..HEADER)?;
    Some(HEADER + u32::from_be_bytes([0, len[0], len[1], len[2]]) as usize)
}

fn put(kind: u8, flags: u8, id: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}

fn put_window(id: u32, more: u32, out: &mut Vec<u8>) {
    put(WINDOW_UPDATE, 0, id, &more.to_be_bytes(), out);
}

/// The request headers in HPACK (RFC 7541), without the dynamic table and Huffman coding.
fn headers(method: &str) -> Vec<u8> {
    let path = format!("/post.v1.PostService/{method}");
    // The index of a name in the static table, for a literal without indexing.
    let literals: [(&[u8], &str); 4] = [
        (&[0x04], &path),                     // :path
        (&[0x01], "bench"),                   // :authority
        (&[0x0f, 0x10], "application/grpc"),  // content-type
        (&[0x00, 2, b't', b'e'], "trailers"), // te
    ];
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    for (name, value) in literals {
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Response};
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;
    use crate::proto::ListPostsByUserIdRequest;

    /// More than a window, so that it arrives only if windows are updated.
    const LONG: usize = 20 * 1024 * 1024;

    /// Answers each call with a message of the length in the user's id.
    async fn serve(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(call) = connection.accept().await {
            let (request, mut respond) = call.unwrap();
            assert_eq!(request.uri().path(), "/post.v1.PostService/ListPostsByUserId");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let long = respond.stream_id().as_u32() == 3;
            let mut body = Vec::new();
            let user_id = "x".repeat(if long { LONG } else { 3 });
            put_frame(&ListPostsByUserIdRequest { user_id, ..Default::default() }, &mut body);
            let mut sender = respond.send_response(Response::new(()), false).unwrap();
            sender.send_data(Bytes::from(body), false).unwrap();
            sender.send_trailers(HeaderMap::new()).unwrap();
        }
    }

    #[tokio::test]
    async fn answers_of_an_h2_server_reach_the_right_call() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        server.spawn(serve(listener));
        let mut streams = Streams::open(&address).await.unwrap();
        for _ in 0..3 {
            streams.ask("ListPostsByUserId", &ListPostsByUserIdRequest::default(), false);
        }
        let (mut received, mut ended) = ([0; 3], [false; 3]);
        while ended != [true; 3] {
            let each = |number: usize, event: Event<'_>| {
                assert!(!ended[number], "data after the end of call {number}");
                match event {
                    Event::Message(message) => received[number] += message.len(),
                    Event::Ended => ended[number] = true,
                }
                Ok(())
            };
            streams.read(each).await.unwrap();
        }
        // A key, a length of one byte or of four, and the id.
        assert_eq!(received, [5, LONG + 5, 5]);
    }
}
