//! The encodings themselves.

use std::io::{self, Read};

use flate2::{Compression, bufread::MultiGzDecoder, read::GzEncoder};
use ruzstd::{
    decoding::StreamingDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};

use super::encoding::Encoding;

/// The largest window of zstd, which the decoder allocates before it reads a byte: what RFC 8878
/// recommends every decoder to support.
const ZSTD_WINDOW: u64 = 8 << 20;

/// Decompresses a message, but no more of it than one byte over `limit`.
///
/// # Errors
/// Why it is not of the encoding.
pub(super) fn decompress(
    encoding: Encoding,
    message: &[u8],
    limit: usize,
) -> Result<Vec<u8>, String> {
    let decompressed = match encoding {
        Encoding::Gzip => read(MultiGzDecoder::new(message), limit),
        Encoding::Zstd => {
            check_window(message)?;
            let decoder = StreamingDecoder::new(message).map_err(|error| error.to_string())?;
            read(decoder, limit)
        }
    };
    decompressed.map_err(|error| error.to_string())
}

/// Reads one byte more than the limit at most.
fn read(source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks the size of the window that a frame asks for (RFC 8878, 3.1.1.1).
fn check_window(frame: &[u8]) -> Result<(), &'static str> {
    let (Some(descriptor), Some(window)) = (frame.get(4), frame.get(5)) else {
        return Err("its frame has no header");
    };
    let is_single_segment = descriptor & 0x20 != 0;
    if is_single_segment {
        // The window is the content, whose size follows in as many bytes as the descriptor says.
        let bytes = [1, 2, 4, 8][usize::from(descriptor >> 6)];
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = frame.get(5 + dictionary..).and_then(|rest| rest.get(..bytes));
        let size = size.ok_or("its frame has no size")?;
        let size = size.iter().rev().fold(0, |size: u64, byte| size << 8 | u64::from(*byte));
        return if size <= ZSTD_WINDOW { Ok(()) } else { Err("its window is too large") };
    }
    let base = 1_u64 << (10 + (window >> 3));
    let size = base + base / 8 * u64::from(window & 7);
    if size <= ZSTD_WINDOW { Ok(()) } else { Err("its window is too large") }
}

/// Compresses a message, quickly rather than well.
pub(super) fn compress(encoding: Encoding, message: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Gzip => {
            let mut compressed = Vec::new();
            // A slice in memory cannot fail to be read.
            let _ = GzEncoder::new(message, Compression::fast()).read_to_end(&mut compressed);
            compressed
        }
        Encoding::Zstd => compress_to_vec(message, CompressionLevel::Fastest),
    }
}
