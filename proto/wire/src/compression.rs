//! Compressed messages, by gRPC's
//! [compression](https://github.com/grpc/grpc/blob/master/doc/compression.md) document: each
//! message is compressed by itself, and a flag in its prefix says whether it is.
//!
//! A [`Recoder`] stands in a stream of messages and decompresses or compresses those that pass, so
//! that what reads or writes the messages need not know of it.
//!
//! Without the feature `compression`, which is on by default, no encoding is known.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use tonic::Status;

use crate::framing::PREFIX_LEN;

#[cfg(feature = "compression")]
mod codecs;
#[cfg(not(feature = "compression"))]
#[path = "compression/no_codecs.rs"]
mod codecs;
mod encoding;

pub use encoding::{Encoding, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, UnknownEncoding};

/// Rewrites a stream of messages, whose bytes come in pieces of any size.
#[derive(Debug)]
pub struct Recoder {
    work: Work,
    encoding: Encoding,
    /// The beginning of a message that is not complete.
    cut: BytesMut,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// Messages have at most this many bytes, decompressed.
    Decompress {
        limit: usize,
    },
    Compress,
}

impl Recoder {
    /// Decompresses the messages that are compressed. None is larger than `limit` bytes afterwards:
    /// no more than that is ever decompressed, so that a small message cannot become a large one.
    pub fn decompressing(encoding: Encoding, limit: usize) -> Self {
        Self { work: Work::Decompress { limit }, encoding, cut: BytesMut::new() }
    }

    /// Compresses the messages that become smaller by it.
    pub fn compressing(encoding: Encoding) -> Self {
        Self { work: Work::Compress, encoding, cut: BytesMut::new() }
    }

    /// Takes the next bytes, and returns the messages that are complete.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED for a message over the limit, INTERNAL for one that is not of the
    /// encoding.
    pub fn pass(&mut self, data: &[u8]) -> Result<Bytes, Status> {
        self.cut.extend_from_slice(data);
        let mut passed = BytesMut::new();
        while let Some(end) = self.end()? {
            let message = self.cut.split_to(end);
            self.put(message[0], &message[PREFIX_LEN..], &mut passed)?;
        }
        Ok(passed.freeze())
    }

    /// What is left at the end of the stream: the beginning of a message that is cut off.
    pub fn rest(&mut self) -> Bytes {
        self.cut.split().freeze()
    }

    /// The length of the first message with its prefix, once it is complete.
    fn end(&self) -> Result<Option<usize>, Status> {
        let Some([_, length @ ..]) = self.cut.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        match self.work {
            Work::Decompress { limit } if length > limit => Err(too_large(limit)),
            _ => Ok(Some(PREFIX_LEN + length).filter(|&end| end <= self.cut.len())),
        }
    }

    fn put(&self, flag: u8, message: &[u8], passed: &mut BytesMut) -> Result<(), Status> {
        let (flag, message) = match (self.work, flag) {
            (Work::Decompress { limit }, 1) => {
                let decompressed = codecs::decompress(self.encoding, message, limit);
                let decompressed = decompressed.map_err(|why| self.broken(&why))?;
                if decompressed.len() > limit {
                    return Err(too_large(limit));
                }
                (0, Cow::Owned(decompressed))
            }
            (Work::Compress, 0) => match codecs::compress(self.encoding, message) {
                smaller if smaller.len() < message.len() => (1, Cow::Owned(smaller)),
                _ => (0, Cow::Borrowed(message)),
            },
            _ => (flag, Cow::Borrowed(message)),
        };
        let length = u32::try_from(message.len()).map_err(|_| too_large(u32::MAX as usize))?;
        passed.reserve(PREFIX_LEN + message.len());
        passed.extend_from_slice(&[flag]);
        passed.extend_from_slice(&length.to_be_bytes());
        passed.extend_from_slice(&message);
        Ok(())
    }

    fn broken(&self, why: &str) -> Status {
        Status::internal(format!("a message is not {}: {why}", self.encoding))
    }
}

fn too_large(limit: usize) -> Status {
    Status::resource_exhausted(format!("a message is larger than {limit} bytes"))
}

#[cfg(all(test, feature = "compression"))]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;
    use crate::framing::prefix;

    const LIMIT: usize = 4096;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut framed = prefix(message.len() as u32).to_vec();
        framed[0] = flag;
        [&framed[..], message].concat()
    }

    /// What comes out of a recoder that gets these bytes in pieces of this size.
    fn recoded(mut recoder: Recoder, bytes: &[u8], cut: usize) -> Result<Vec<u8>, Status> {
        let mut all = Vec::new();
        for piece in bytes.chunks(cut) {
            all.extend_from_slice(&recoder.pass(piece)?);
        }
        all.extend_from_slice(&recoder.rest());
        Ok(all)
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were_wherever_frames_split_them(
            messages in prop::collection::vec(prop::collection::vec(0_u8..3, 0..LIMIT), 0..6),
            cut in 1_usize..3000,
            rest in 0_usize..PREFIX_LEN,
        ) {
            let sent = messages.iter().flat_map(|message| framed(0, message));
            let mut sent: Vec<u8> = sent.collect();
            sent.extend_from_slice(&[0; PREFIX_LEN][..rest]);
            for &encoding in Encoding::KNOWN {
                let there = recoded(Recoder::compressing(encoding), &sent, cut).unwrap();
                let back = Recoder::decompressing(encoding, LIMIT);
                prop_assert_eq!(&recoded(back, &there, cut).unwrap(), &sent);
            }
        }

        #[test]
        fn bytes_that_are_not_of_the_encoding_are_an_error_and_no_panic(
            message in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            for &encoding in Encoding::KNOWN {
                let recoder = Recoder::decompressing(encoding, LIMIT);
                if let Err(status) = recoded(recoder, &framed(1, &message), 200) {
                    prop_assert_eq!(status.code(), Code::Internal);
                }
            }
        }
    }

    #[test]
    fn a_message_that_would_not_become_smaller_is_sent_as_it_is() {
        for &encoding in Encoding::KNOWN {
            let message = framed(0, b"short");
            let recoder = Recoder::compressing(encoding);
            assert_eq!(recoded(recoder, &message, 100).unwrap(), message);
        }
    }

    #[test]
    fn a_small_message_that_would_become_larger_than_the_limit_is_resource_exhausted() {
        let large = framed(0, &vec![7; 100 * LIMIT]);
        for &encoding in Encoding::KNOWN {
            let small = recoded(Recoder::compressing(encoding), &large, large.len()).unwrap();
            assert!(small.len() < LIMIT, "{encoding}: {}", small.len());
            let outcome = recoded(Recoder::decompressing(encoding, LIMIT), &small, LIMIT);
            assert_eq!(outcome.unwrap_err().code(), Code::ResourceExhausted, "{encoding}");
        }
        let outcome = recoded(Recoder::decompressing(Encoding::Gzip, LIMIT), &large, 10);
        assert_eq!(outcome.unwrap_err().code(), Code::ResourceExhausted, "not compressed");
    }

    #[test]
    fn a_zstd_frame_with_a_window_over_8_mib_is_refused_before_it_is_allocated() {
        // Magic, no single segment, and a window of 16 MiB.
        let frame = framed(1, &[0x28, 0xb5, 0x2f, 0xfd, 0, 14 << 3, 1, 0, 0]);
        let outcome = recoded(Recoder::decompressing(Encoding::Zstd, LIMIT), &frame, 100);
        assert!(outcome.unwrap_err().message().contains("its window is too large"));
    }
}
