//! Batches whose posts are read in place, for readers that need more speed than ordinary messages.
//!
//! An ordinary client spends most of its time on a `String` for every text. [`BorrowedBatch`] keeps
//! the message as it arrived, and [`BorrowedBatch::posts`] reads the posts from those bytes.

use bytes::Bytes;
use quartet::{
    codec::Decode,
    encoded::PostRef,
    fields::{Field, Malformed, fields},
    post::v1::{ListPostsResponse, LogPosition},
};

// The field numbers of `ListPostsResponse`.
const POST_MESSAGES: u32 = 1;
const POSITION: u32 = 2;
const SNAPSHOT_COMPLETE: u32 = 3;
/// The field number in `PostMessage`.
const SEQUENCE: u32 = 7;

/// A type that the batches of a list can be read into: [`ListPostsResponse`], or [`BorrowedBatch`].
pub trait ListBatch: Decode + Send + Sync + 'static {
    /// The sequences of its posts.
    fn sequences(&self) -> impl Iterator<Item = i64>;
    /// The last sequence that it covers.
    fn position(&self) -> Option<&LogPosition>;
    /// The flag that marks the end of the snapshot.
    fn snapshot_complete(&mut self) -> &mut bool;
}

impl ListBatch for ListPostsResponse {
    fn sequences(&self) -> impl Iterator<Item = i64> {
        self.post_messages.iter().map(|post| post.sequence)
    }

    fn position(&self) -> Option<&LogPosition> {
        self.position.as_ref()
    }

    fn snapshot_complete(&mut self) -> &mut bool {
        &mut self.snapshot_complete
    }
}

/// A `ListPostsResponse` whose posts are still encoded. It keeps the bytes of the message, and
/// those of the frame that brought it, alive.
#[derive(Debug, Clone, Default)]
pub struct BorrowedBatch {
    message: Bytes,
    /// The last sequence that it covers.
    pub position: Option<LogPosition>,
    /// Whether it completes the snapshot.
    pub snapshot_complete: bool,
}

impl BorrowedBatch {
    /// Decodes a message up to its posts, which stay encoded.
    ///
    /// # Errors
    /// The bytes are not a `ListPostsResponse`.
    pub fn decode(message: Bytes) -> Result<Self, Malformed> {
        let (mut position, mut snapshot_complete) = (None, false);
        for field in fields(&message) {
            match field? {
                (POSITION, Field::Bytes(bytes)) => {
                    let decoded = <LogPosition as prost::Message>::decode(bytes);
                    position = Some(decoded.map_err(|_| Malformed("a position"))?);
                }
                (SNAPSHOT_COMPLETE, Field::Number(flag)) => snapshot_complete = flag != 0,
                (POST_MESSAGES, Field::Bytes(_)) => {}
                (POST_MESSAGES..=SNAPSHOT_COMPLETE, _) => {
                    return Err(Malformed("a field has another type"));
                }
                _ => {}
            }
        }
        Ok(Self { message, position, snapshot_complete })
    }

    /// The posts, in the order of the log. Each call decodes them again.
    ///
    /// # Errors
    /// A post is not a `PostMessage`.
    pub fn posts(&self) -> impl Iterator<Item = Result<PostRef<'_>, Malformed>> {
        self.messages().map(PostRef::decode)
    }

    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        fields(&self.message).filter_map(|field| match field {
            Ok((POST_MESSAGES, Field::Bytes(post))) => Some(post),
            _ => None,
        })
    }
}

impl Decode for BorrowedBatch {
    fn decode(message: Bytes) -> Result<Self, String> {
        BorrowedBatch::decode(message).map_err(|error| error.to_string())
    }
}

impl ListBatch for BorrowedBatch {
    fn sequences(&self) -> impl Iterator<Item = i64> {
        self.messages().map(sequence)
    }

    fn position(&self) -> Option<&LogPosition> {
        self.position.as_ref()
    }

    fn snapshot_complete(&mut self) -> &mut bool {
        &mut self.snapshot_complete
    }
}

/// The sequence of an encoded post. If the field occurs twice, the last one counts.
fn sequence(post: &[u8]) -> i64 {
    let mut sequence = 0;
    for field in fields(post) {
        if let Ok((SEQUENCE, Field::Number(number))) = field {
            sequence = number as i64;
        }
    }
    sequence
}
