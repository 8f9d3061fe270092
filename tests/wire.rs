//! Reading in place: the server must see the same fields in a message as prost.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use prost_types::Timestamp;
use quartet::{
    codec,
    encoded::PostRef,
    page::UploadMessage,
    post::v1::{PostMessage, UploadFinish, UploadPostsRequest, upload_posts_request::Payload},
};
use quartet_log::NewPost;

fn post() -> impl Strategy<Value = PostMessage> {
    let tags = proptest::collection::vec("[a-zé한]{0,5}", 0..4);
    ("\\PC{0,8}", "\\PC{0,8}", "\\PC{0,20}", "\\PC{0,200}", tags, any::<i64>()).prop_map(
        |(post_id, user_id, title, body, tags, sequence)| PostMessage {
            post_id,
            user_id,
            title,
            body,
            tags,
            sequence,
            ..PostMessage::default()
        },
    )
}

fn request() -> impl Strategy<Value = UploadPostsRequest> {
    prop_oneof![
        4 => post().prop_map(|post| Some(Payload::PostMessage(post))),
        1 => any::<i64>().prop_map(|post_count| Some(Payload::Finish(UploadFinish { post_count }))),
        1 => Just(None),
    ]
    .prop_map(|payload| UploadPostsRequest { payload })
}

fn read_in_place(message: Bytes) -> Option<UploadPostsRequest> {
    let payload = match codec::Decode::decode(message).ok()? {
        UploadMessage::Post(post) => {
            Some(Payload::PostMessage(owned(&PostRef::decode(&post).ok()?)))
        }
        UploadMessage::Finish(finish) => Some(Payload::Finish(finish)),
        UploadMessage::Unset => None,
    };
    Some(UploadPostsRequest { payload })
}

fn owned(post: &PostRef<'_>) -> PostMessage {
    PostMessage {
        post_id: post.post_id.to_owned(),
        author: post.author.to_owned(),
        title: post.title.to_owned(),
        body: post.body.to_owned(),
        tags: post.tags().map(str::to_owned).collect(),
        user_id: post.user_id.to_owned(),
        sequence: post.sequence,
        create_time: post.create_time,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Concatenated messages are one message to protobuf: later fields win, lists grow, equal
    /// payloads are merged.
    #[test]
    fn an_upload_is_read_in_place_as_prost_reads_it(
        requests in proptest::collection::vec(request(), 0..4),
        unknown in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let encoded = requests.iter().flat_map(UploadPostsRequest::encode_to_vec);
        let mut message: Vec<u8> = encoded.collect();
        if unknown {
            message.extend([0x78, 0x01]); // field 15, a number
        }
        for message in [&message[..], &message[..cut.index(message.len() + 1)]] {
            prop_assert_eq!(
                read_in_place(Bytes::copy_from_slice(message)),
                UploadPostsRequest::decode(message).ok()
            );
        }
    }

    #[test]
    fn a_stored_post_has_the_writers_fields_and_the_servers_time(post in post()) {
        let time = Timestamp { seconds: 7, nanos: 9 };
        let new = NewPost::of(&post, time);
        let chosen = PostMessage { sequence: 0, create_time: Some(time), ..post };
        prop_assert_eq!(PostMessage::decode(&new.stored()[..]).unwrap(), chosen);
    }
}
