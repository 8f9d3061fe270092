//! Checks the order of the log as a reader advances: over all streams of one reader, sequences
//! strictly increase, and a position is sent only after everything up to it.

use quartet::post::v1::LogPosition;

use crate::error::Error;

/// The last sequence that a reader has passed.
#[derive(Debug, Default)]
pub(crate) struct Order(i64);

impl Order {
    /// A reader that starts after `position`, or before the first post if there is none.
    pub(crate) fn after(position: Option<&LogPosition>) -> Self {
        Self(position.map_or(0, |position| position.sequence))
    }

    /// Advances over a batch and returns its position.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the batch cannot come next in this order.
    pub(crate) fn advance(
        &mut self,
        sequences: impl IntoIterator<Item = i64>,
        position: Option<LogPosition>,
    ) -> Result<LogPosition, Error> {
        for sequence in sequences {
            if sequence <= self.0 {
                return Err(broken(format_args!("post {sequence} came after {}", self.0)));
            }
            self.0 = sequence;
        }
        let position = position.ok_or_else(|| broken(format_args!("a position is missing")))?;
        if position.sequence < self.0 {
            return Err(broken(format_args!("position {} after {}", position.sequence, self.0)));
        }
        self.0 = position.sequence;
        Ok(position)
    }
}

fn broken(what: std::fmt::Arguments<'_>) -> Error {
    Error::Protocol(what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(order: &mut Order, sequences: &[i64], position: i64) -> Result<(), Error> {
        let position = LogPosition { sequence: position, ..Default::default() };
        order.advance(sequences.iter().copied(), Some(position))?;
        Ok(())
    }

    #[test]
    fn increasing_batches_with_gaps_and_bookmarks_are_accepted() {
        let mut order = Order::default();
        for (posts, position) in [(&[1, 2, 5][..], 7), (&[], 7), (&[], 9), (&[10], 10)] {
            advance(&mut order, posts, position).unwrap();
        }
    }

    #[test]
    fn a_batch_that_breaks_the_order_is_refused() {
        for (posts, position) in
            [(&[4][..], 9), (&[3], 9), (&[5, 5], 9), (&[6, 5], 9), (&[7], 6), (&[], 3)]
        {
            let mut order = Order(4);
            assert!(advance(&mut order, posts, position).is_err(), "{posts:?} up to {position}");
        }
        assert!(Order::default().advance([], None).is_err(), "no position");
    }
}
