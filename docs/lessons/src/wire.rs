//! Connections that a check can read and break: it sees every HTTP/2 frame that passes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split},
    sync::watch,
};

/// The bytes with which a client opens HTTP/2 (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The bytes before a frame's payload (RFC 9113, section 4.1).
const HEAD: usize = 9;

/// Which end sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The program under test.
    Client,
    /// The server.
    Server,
}

/// The type of a frame (RFC 9113, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Parts of messages.
    Data,
    /// The start of a call, of its answer, or its trailers.
    Headers,
    /// The end of a stream by force: a cancelled call.
    Reset,
    /// A probe of keepalive.
    Ping,
    /// The connection takes no more calls.
    GoAway,
    /// Any other.
    Other,
}

/// A frame that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its sender.
    pub from: From,
    /// Its type.
    pub kind: Kind,
    /// The bytes of its payload.
    pub length: usize,
}

/// A fault, which happens once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Cut once the server has sent more than this many bytes in all.
    CutAfter(usize),
    /// Cut instead of passing the first headers of the server: the answer is lost.
    LoseAnswer,
}

/// All connections of the program under test. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    state: Arc<Mutex<State>>,
    /// Whether bytes of the server wait.
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    frames: Vec<Frame>,
    to_client: usize,
    fault: Option<Fault>,
}

impl Wire {
    /// Cuts the connection once the server has sent more than this many bytes from now on, once.
    pub fn cut_after(&self, bytes: usize) {
        let mut state = self.state();
        state.fault = Some(Fault::CutAfter(state.to_client + bytes));
    }

    /// Cuts the connection when the server answers, before its answer passes, once.
    pub fn lose_answer(&self) {
        self.state().fault = Some(Fault::LoseAnswer);
    }

    /// Holds back all bytes of the server, or lets them pass again.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Whether the planned fault has happened; true if none was planned.
    pub fn was_cut(&self) -> bool {
        self.state().fault.is_none()
    }

    /// How many frames of this type passed.
    pub fn count(&self, from: From, kind: Kind) -> usize {
        let wanted = |frame: &&Frame| frame.from == from && frame.kind == kind;
        self.state().frames.iter().filter(wanted).count()
    }

    /// The bytes of messages that the server sent.
    pub fn received(&self) -> usize {
        let data = |frame: &&Frame| frame.from == From::Server && frame.kind == Kind::Data;
        self.state().frames.iter().filter(data).map(|frame| frame.length).sum()
    }

    /// Carries a connection until either end closes it or the fault cuts it.
    pub(crate) async fn carry(self, client: DuplexStream, server: DuplexStream) {
        let ((from_client, to_client), (from_server, to_server)) = (split(client), split(server));
        tokio::select! {
            () = self.pump(From::Client, PREFACE, from_client, to_server) => {}
            () = self.pump(From::Server, 0, from_server, to_client) => {}
        }
    }

    async fn pump(
        &self,
        from: From,
        skip: usize,
        mut input: ReadHalf<DuplexStream>,
        mut output: WriteHalf<DuplexStream>,
    ) {
        let (mut parser, mut chunk) = (Parser { skip, pending: Vec::new() }, vec![0; 16 * 1024]);
        while let Ok(length @ 1..) = input.read(&mut chunk).await {
            if from == From::Server && self.held.subscribe().wait_for(|held| !held).await.is_err() {
                return;
            }
            let frames = parser.frames(from, &chunk[..length]);
            if self.passes(from, length, frames)
                || output.write_all(&chunk[..length]).await.is_err()
            {
                return;
            }
        }
    }

    /// Records what passes. Returns whether the fault cuts the connection here.
    fn passes(&self, from: From, length: usize, frames: Vec<Frame>) -> bool {
        let mut state = self.state();
        if from == From::Server {
            state.to_client += length;
        }
        let is_answer = |frame: &Frame| frame.from == From::Server && frame.kind == Kind::Headers;
        let cut = match state.fault {
            Some(Fault::CutAfter(bytes)) => state.to_client > bytes,
            Some(Fault::LoseAnswer) => frames.iter().any(is_answer),
            None => false,
        };
        state.frames.extend(frames);
        if cut {
            state.fault = None;
        }
        cut
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the frames in one direction of a connection.
struct Parser {
    /// Bytes that are in no new frame: of the preface, or of a payload.
    skip: usize,
    /// The first bytes of a frame's head.
    pending: Vec<u8>,
}

impl Parser {
    fn frames(&mut self, from: From, mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            let taken = (HEAD - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [high, middle, low, kind, ..] = self.pending[..]
                && self.pending.len() == HEAD
            {
                self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                frames.push(Frame { from, kind: Kind::from(kind), length: self.skip });
                self.pending.clear();
            }
        }
        frames
    }
}

impl std::convert::From<u8> for Kind {
    fn from(kind: u8) -> Self {
        match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            _ => Kind::Other,
        }
    }
}
