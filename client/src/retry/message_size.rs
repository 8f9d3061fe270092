//! Limits of messages, by the lengths in front of them.

use tonic::Status;

/// Before each message: whether it is compressed, and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// Looks at the messages in one direction of a call as their bytes pass.
#[derive(Debug)]
pub(crate) struct MessageSize {
    limit: u64,
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Of the message that passes.
    left: usize,
}

impl MessageSize {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, prefix: [0; PREFIX_BYTES], prefix_bytes: 0, left: 0 }
    }

    /// # Errors
    /// RESOURCE_EXHAUSTED, as in grpc-go, if a message begins that is larger than the limit.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            self.prefix[self.prefix_bytes] = byte;
            self.prefix_bytes += 1;
            bytes = rest;
            if self.prefix_bytes == PREFIX_BYTES {
                self.begin_message()?;
            }
        }
    }

    fn begin_message(&mut self) -> Result<(), Status> {
        let [_, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length);
        if u64::from(length) > self.limit {
            let limit = self.limit;
            return Err(Status::resource_exhausted(format!(
                "a message of {length} bytes is larger than the {limit} that the service config allows"
            )));
        }
        self.prefix_bytes = 0;
        self.left = length as usize;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_over_the_limit_is_found_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0_u32..40, 0..10), limit in 0_u64..40, cut in 1_usize..20,
        ) {
            let mut bytes = Vec::new();
            for &length in &lengths {
                bytes.push(0);
                bytes.extend(length.to_be_bytes());
                bytes.extend(vec![7; length as usize]);
            }
            let mut size = MessageSize::new(limit);
            let refused = bytes.chunks(cut).any(|chunk| size.pass(chunk).is_err());
            prop_assert_eq!(refused, lengths.iter().any(|&length| u64::from(length) > limit));
        }
    }
}
