//! The prefix of each message, and a scanner that finds message boundaries in a stream of bytes
//! without copying or decoding.

/// Bytes of a prefix: a flag for compression, and the length of the message.
pub const PREFIX_LEN: usize = 5;

/// The prefix of an uncompressed message of this many bytes.
pub fn prefix(len: u32) -> [u8; PREFIX_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// The position in a sequence of messages whose bytes arrive in pieces of any size.
#[derive(Debug, Default)]
pub struct Framing {
    /// The bytes of a prefix that have arrived.
    prefix: [u8; PREFIX_LEN],
    prefix_len: u8,
    /// Bytes of the present message that are missing.
    left: u32,
}

impl Framing {
    /// Advances over these bytes and reports the length of each message whose prefix ends in them.
    pub fn pass(&mut self, data: &[u8], mut begins: impl FnMut(u32)) {
        self.pass_flagged(data, |_, length| begins(length));
    }

    /// Whether the bytes so far end with a whole message.
    pub fn is_between_messages(&self) -> bool {
        self.prefix_len == 0 && self.left == 0
    }

    /// The same as [`pass`](Self::pass), which also reports the flag before each length.
    pub fn pass_flagged(&mut self, mut data: &[u8], mut begins: impl FnMut(u8, u32)) {
        loop {
            let skipped = data.len().min(self.left as usize);
            (self.left, data) = (self.left - skipped as u32, &data[skipped..]);
            if data.is_empty() {
                return;
            }
            let known = usize::from(self.prefix_len);
            let taken = (PREFIX_LEN - known).min(data.len());
            self.prefix[known..][..taken].copy_from_slice(&data[..taken]);
            (self.prefix_len, data) = ((known + taken) as u8, &data[taken..]);
            if known + taken == PREFIX_LEN {
                let [flag, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length);
                (self.prefix_len, self.left) = (0, length);
                begins(flag, length);
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
        fn messages_are_counted_wherever_their_bytes_are_split(
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
            prop_assert!(framing.is_between_messages());
            framing.pass(&[0], |_| {});
            prop_assert!(!framing.is_between_messages());
        }
    }
}
