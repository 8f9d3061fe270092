//! Counting messages by gRPC's framing, a flag and a length before each: nothing is copied or decoded.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages that went one way. One side counts, others may look.
#[derive(Debug, Default)]
pub struct Count {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    /// How many.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Their bytes, as they are on the wire: compressed, without gRPC's prefixes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Cheaper than to add in one step, which only a count with several writers would need.
    pub(super) fn add(&self, bytes: u32) {
        self.messages.store(self.messages() + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes() + u64::from(bytes), Ordering::Relaxed);
    }
}

/// Bytes before each message: a flag and a length.
const PREFIX: usize = 5;

/// Where one is in a sequence of gRPC messages.
#[derive(Debug, Default)]
pub struct Framing {
    /// What has come of a prefix.
    prefix: [u8; PREFIX],
    prefix_len: usize,
    /// What is still to come of a message.
    left: usize,
}

impl Framing {
    /// Moves on by these bytes, and tells the length of each message that begins in them.
    pub(super) fn pass(&mut self, mut data: &[u8], mut begins: impl FnMut(u32)) {
        loop {
            let skipped = self.left.min(data.len());
            (self.left, data) = (self.left - skipped, &data[skipped..]);
            if data.is_empty() {
                return;
            }
            let taken = (PREFIX - self.prefix_len).min(data.len());
            self.prefix[self.prefix_len..][..taken].copy_from_slice(&data[..taken]);
            (self.prefix_len, data) = (self.prefix_len + taken, &data[taken..]);
            if self.prefix_len == PREFIX {
                let [_, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length);
                (self.prefix_len, self.left) = (0, length as usize);
                begins(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn messages_are_counted_however_their_bytes_are_cut(
            lengths in vec(0u32..40, 0..20),
            cuts in vec(1usize..30, 1..20),
        ) {
            let mut bytes = Vec::new();
            for length in &lengths {
                bytes.push(0);
                bytes.extend(length.to_be_bytes());
                bytes.extend(std::iter::repeat_n(7, *length as usize));
            }
            let (mut framing, mut counted, mut rest) = (Framing::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                framing.pass(piece, |length| counted.push(length));
                rest = more;
            }
            prop_assert_eq!(counted, lengths);
        }
    }
}
