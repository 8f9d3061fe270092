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
    prefix_len: u8,
    /// What is still to come of a message.
    left: u32,
}

impl Framing {
    /// Moves on by these bytes, and tells the length of each message that begins in them.
    pub(super) fn pass(&mut self, mut data: &[u8], mut begins: impl FnMut(u32)) {
        loop {
            let skipped = data.len().min(self.left as usize);
            (self.left, data) = (self.left - skipped as u32, &data[skipped..]);
            if data.is_empty() {
                return;
            }
            let known = usize::from(self.prefix_len);
            let taken = (PREFIX - known).min(data.len());
            self.prefix[known..][..taken].copy_from_slice(&data[..taken]);
            (self.prefix_len, data) = ((known + taken) as u8, &data[taken..]);
            if known + taken == PREFIX {
                let [_, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length);
                (self.prefix_len, self.left) = (0, length);
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
