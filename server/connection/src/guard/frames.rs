//! Where HTTP/2 frames begin and end in a stream of bytes (RFC 9113, section 4.1).
//!
//! Only the nine bytes of a frame's header are read; payloads are skipped by arithmetic.

use std::fmt;

/// The client's first bytes, before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;
const HEADER: usize = 9;

/// Types of frames (RFC 9113, section 6).
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// DATA and HEADERS: the last frame of its direction of the stream.
const END_STREAM: u8 = 0x1;
/// PING and SETTINGS: an answer.
const ACK: u8 = 0x1;
/// HEADERS and CONTINUATION: the last frame of its header block.
const END_HEADERS: u8 = 0x4;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of its payload.
    pub length: usize,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
}

/// The tracing target of every frame that passes, at DEBUG, if
/// [`Settings::trace_frames`](crate::Settings::trace_frames) is set.
pub const FRAMES: &str = "frames";

const NAMES: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

/// For people: `DATA stream 1, 45 bytes, end of stream`.
impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.get(usize::from(self.kind)).unwrap_or(&"unknown frame"))?;
        if self.stream != 0 {
            write!(f, " stream {}", self.stream)?;
        }
        match self.kind {
            kind::PING | kind::SETTINGS if self.is_ack() => f.write_str(" ack")?,
            kind::DATA => write!(f, ", {} bytes", self.length)?,
            _ => {}
        }
        let ends = matches!(self.kind, kind::DATA | kind::HEADERS) && self.ends_stream();
        f.write_str(if ends { ", end of stream" } else { "" })
    }
}

impl Header {
    fn parse([a, b, c, kind, flags, stream @ ..]: [u8; HEADER]) -> Self {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1) }
    }

    /// Whether it answers a PING or SETTINGS of the other side.
    pub fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    /// Whether its sender ends the stream with it.
    pub fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// Whether only more of the same header block may follow it (RFC 9113, section 6.10).
    fn opens_block(&self) -> bool {
        matches!(self.kind, kind::HEADERS | kind::CONTINUATION) && self.flags & END_HEADERS == 0
    }
}

/// One direction of a connection, as far as it has passed.
#[derive(Debug, Default)]
pub struct FrameScanner {
    /// Bytes to come of the preface or of the payload of the last frame.
    skip: usize,
    header: [u8; HEADER],
    /// Bytes of the next header that have come.
    have: usize,
    in_block: bool,
}

impl FrameScanner {
    /// From a client: a preface, then frames.
    pub fn of_client() -> Self {
        Self { skip: PREFACE, ..Self::default() }
    }

    /// From a server: frames.
    pub fn of_server() -> Self {
        Self::default()
    }

    /// Moves on by these bytes and reports each frame whose header is complete with them.
    pub fn scan(&mut self, mut bytes: &[u8], mut each: impl FnMut(Header)) {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];

            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];

            if self.have == HEADER {
                let header = Header::parse(self.header);
                self.have = 0;
                self.skip = header.length;
                self.in_block = header.opens_block();
                each(header);
            }
        }
    }

    /// Whether another frame may be inserted here.
    pub fn at_boundary(&self) -> bool {
        self.skip == 0 && self.have == 0 && !self.in_block
    }

    /// The least number of bytes to the next boundary, if this is none.
    pub fn rest(&self) -> usize {
        if self.skip > 0 { self.skip } else { HEADER - self.have }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(vec![0xff; length]);
        bytes
    }

    #[test]
    fn a_frame_may_be_inserted_between_frames_but_not_into_one_nor_into_a_header_block() {
        let mut frames = FrameScanner::of_server();
        assert!(frames.at_boundary());
        for byte in frame(kind::DATA, 0, 1, 3) {
            frames.scan(&[byte], |_| {});
            assert_eq!(frames.at_boundary(), frames.rest() == HEADER);
        }
        assert!(frames.at_boundary());
        frames.scan(&frame(kind::HEADERS, 0, 1, 2), |_| {});
        assert!(!frames.at_boundary());
        frames.scan(&frame(kind::CONTINUATION, END_HEADERS, 1, 0), |_| {});
        assert!(frames.at_boundary());
    }

    #[test]
    fn the_reserved_bit_of_a_stream_is_ignored() {
        let mut seen = Vec::new();
        let mut frames = FrameScanner::of_server();
        frames.scan(&frame(kind::DATA, 1, u32::MAX, 0), |header| seen.push(header));
        assert_eq!(seen, [Header { length: 0, kind: 0, flags: 1, stream: u32::MAX >> 1 }]);
    }

    proptest! {
        #[test]
        fn frames_are_the_same_wherever_their_bytes_are_cut(
            sent in vec((any::<u8>(), any::<u8>(), any::<u32>(), 0_usize..40), 0..20),
            cuts in vec(1_usize..30, 1..200),
        ) {
            let mut bytes = vec![0; PREFACE];
            let mut expected = Vec::new();
            for (kind, flags, stream, length) in sent {
                bytes.extend(frame(kind, flags, stream, length));
                expected.push(Header { length, kind, flags, stream: stream & (u32::MAX >> 1) });
            }
            let (mut frames, mut seen) = (FrameScanner::of_client(), Vec::new());
            let mut rest = bytes.as_slice();
            for cut in cuts.into_iter().cycle() {
                let (chunk, later) = rest.split_at(cut.min(rest.len()));
                frames.scan(chunk, |header| seen.push(header));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
