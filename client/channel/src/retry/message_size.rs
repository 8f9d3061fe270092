//! Limits on the size of messages, by the length before each of them.

use quartet_wire::framing::Framing;

use crate::cause::Cause;

/// Checks the messages of a request or a response while their bytes pass through.
#[derive(Debug)]
pub(crate) struct MessageSize {
    limit: u64,
    framing: Framing,
}

impl MessageSize {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, framing: Framing::default() }
    }

    /// Passes over the next bytes.
    ///
    /// # Errors
    /// [`Cause::TooLarge`], RESOURCE_EXHAUSTED as in grpc-go, if a message that begins in them is
    /// larger than the limit.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        let (mut largest, limit) = (0, self.limit);
        self.framing.pass(bytes, |length| largest = largest.max(length));
        if u64::from(largest) <= limit {
            return Ok(());
        }
        Err(Cause::TooLarge(largest, limit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_over_the_limit_is_found_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0_u32..40, 0..10),
            limit in 0_u64..40,
            cut in 1_usize..20,
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
