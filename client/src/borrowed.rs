//! Batches that are read in place: for readers that need speed more than ordinary messages.
//!
//! A default client spends most of its time on a `String` for every text. [`Batch`] keeps the message as it came, and
//! [`Batch::posts`] reads the posts where they are.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use quartet::{
    borrowed::{Field, Malformed, PostRef, fields},
    post::v1::{ListPostsRequest, ListPostsResponse, LogPosition},
    wire::WireCodec,
};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder},
};

// The field numbers of `ListPostsResponse`.
const POST_MESSAGES: u32 = 1;
const POSITION: u32 = 2;
const SNAPSHOT_COMPLETE: u32 = 3;
/// That of `PostMessage`.
const SEQUENCE: u32 = 7;

/// What a list is read into: [`ListPostsResponse`], or [`Batch`].
pub trait FromList: Send + Sync + Sized + 'static {
    /// How it comes off the wire.
    #[doc(hidden)]
    type Codec: Codec<Encode = ListPostsRequest, Decode = Self> + Default + Send + 'static;

    /// The places of its posts in the log.
    fn sequences(&self) -> impl Iterator<Item = i64>;
    /// The last sequence that it covers.
    fn position(&self) -> Option<&LogPosition>;
    /// Whether it is the last of the snapshot.
    fn snapshot_complete(&mut self) -> &mut bool;
}

impl FromList for ListPostsResponse {
    type Codec = WireCodec<ListPostsRequest, Self>;

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

/// A `ListPostsResponse` whose posts are still in the bytes that came.
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
                    let decoded = LogPosition::decode(bytes);
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

impl FromList for Batch {
    type Codec = BatchCodec;

    fn sequences(&self) -> impl Iterator<Item = i64> {
        self.messages().map(|post| {
            let sequences = fields(post).filter_map(|field| match field {
                Ok((SEQUENCE, Field::Number(sequence))) => Some(sequence as i64),
                _ => None,
            });
            // Of a field that comes twice, the last counts.
            sequences.last().unwrap_or_default()
        })
    }

    fn position(&self) -> Option<&LogPosition> {
        self.position.as_ref()
    }

    fn snapshot_complete(&mut self) -> &mut bool {
        &mut self.snapshot_complete
    }
}

/// The suite's codec, but for what it decodes.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct BatchCodec(PhantomData<()>);

impl Codec for BatchCodec {
    type Encode = ListPostsRequest;
    type Decode = Batch;
    type Encoder = WireCodec<ListPostsRequest, ListPostsResponse>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        WireCodec::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl Decoder for BatchCodec {
    type Item = Batch;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Batch>, Status> {
        let message = buf.copy_to_bytes(buf.remaining());
        Batch::decode(message)
            .map(Some)
            .map_err(|error| Status::new(Code::Internal, error.to_string()))
    }
}
