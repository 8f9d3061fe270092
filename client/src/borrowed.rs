//! Batches that are read in place: for readers that need speed more than ordinary messages.
//!
//! A default client spends most of its time on a `String` for every text. [`Batch`] keeps the message as it came, and
//! [`Batch::posts`] reads the posts where they are.

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
/// That of `PostMessage`.
const SEQUENCE: u32 = 7;

/// What a list is read into: [`ListPostsResponse`], or [`Batch`].
pub trait FromList: Decode + Send + Sync + 'static {
    /// The places of its posts in the log.
    fn sequences(&self) -> impl Iterator<Item = i64>;
    /// The last sequence that it covers.
    fn position(&self) -> Option<&LogPosition>;
    /// Whether it is the last of the snapshot.
    fn snapshot_complete(&mut self) -> &mut bool;
}

impl FromList for ListPostsResponse {
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

/// A `ListPostsResponse` whose posts are still in the bytes that came, and which are kept as long as it is.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    message: Bytes,
    /// The last sequence that it covers.
    pub position: Option<LogPosition>,
    /// Whether the snapshot is complete with it.
    pub snapshot_complete: bool,
}

impl Batch {
    /// Takes a message in. Its posts are not looked into.
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

    /// The posts, in the order of the log. Iterating reads them anew each time.
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

impl Decode for Batch {
    fn decode(message: Bytes) -> Result<Self, String> {
        Batch::decode(message).map_err(|error| error.to_string())
    }
}

impl FromList for Batch {
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

/// The place of a post in the log. Of a field that comes twice, the last counts.
fn sequence(post: &[u8]) -> i64 {
    let mut sequence = 0;
    for field in fields(post) {
        if let Ok((SEQUENCE, Field::Number(number))) = field {
            sequence = number as i64;
        }
    }
    sequence
}
