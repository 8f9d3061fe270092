"""Runs gRPC's C core against this server: the four RPC kinds, deadlines, cancellation, GOAWAY and keepalive.

Started by tests/interop/run, which generates the modules that are imported here. Every claim is a function; the first
one that fails ends the program.
"""

import queue
import sys
import time

import grpc
from post.v1 import post_pb2, post_pb2_grpc
from user.v1 import user_pb2, user_pb2_grpc

# A server that allows a ping each second, one whose connections reach their age after two seconds, and one without
# flags.
PERMISSIVE, AGING, STRICT = sys.argv[1:4]


def posts(channel):
    return post_pb2_grpc.PostServiceStub(channel)


def post(post_id, tag="interop"):
    return post_pb2.PostMessage(post_id=post_id, user_id="1", title=post_id, tags=[tag])


def upload(channel, ids):
    messages = [post_pb2.UploadPostsRequest(post_message=post(post_id)) for post_id in ids]
    finish = post_pb2.UploadPostsRequest(finish=post_pb2.UploadFinish(post_count=len(messages)))
    return posts(channel).UploadPosts(iter(messages + [finish]), timeout=20)


def fails(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()} instead of {code}: {error.details()}"
        return error
    raise AssertionError(f"expected the call to end with {code}")


def the_four_kinds_work(channel):
    uploaded = upload(channel, [f"python-{n}" for n in range(500)])
    assert uploaded.complete and uploaded.created_count == 500, uploaded
    page = posts(channel).ListPostsByUserId(post_pb2.ListPostsByUserIdRequest(user_id="1"), timeout=20)
    assert len(page.post_messages) == 500 and page.post_messages[0].author == "Henry"
    listed = list(posts(channel).ListPosts(post_pb2.ListPostsRequest(), timeout=20))
    sequences = [message.sequence for batch in listed for message in batch.post_messages]
    assert sequences == list(range(1, 501)) and listed[-1].snapshot_complete

    requests = queue.Queue()
    feed = posts(channel).TagFeed(iter(requests.get, None), timeout=20)
    requests.put(post_pb2.TagFeedRequest(join=post_pb2.JoinTags(tags=["feed"])))
    kinds = []
    for response in feed:
        kind = response.WhichOneof("payload")
        kinds.append(kind)
        if kind == "joined":
            published = post_pb2.PublishPost(post_message=post("python-feed", "feed"))
            requests.put(post_pb2.TagFeedRequest(publish=published))
        if {"receipt", "posts"} <= set(kinds):
            requests.put(None)  # the half-close
    assert set(kinds) == {"joined", "bookmark", "receipt", "posts"}, kinds
    assert response.bookmark.caught_up


def a_user_is_found(channel):
    users = user_pb2_grpc.UserServiceStub(channel)
    assert users.GetUser(user_pb2.GetUserRequest(user_id="2"), timeout=20).user_message.name == "Michael"
    fails(grpc.StatusCode.NOT_FOUND, lambda: users.GetUser(user_pb2.GetUserRequest(user_id="x"), timeout=20))


def many_failed_calls_are_not_treated_as_a_flood(channel):
    users = user_pb2_grpc.UserServiceStub(channel)
    for _ in range(500):
        fails(grpc.StatusCode.NOT_FOUND, lambda: users.GetUser(user_pb2.GetUserRequest(user_id="x"), timeout=20))


def a_deadline_ends_a_stream(channel):
    begun = time.monotonic()
    stream = posts(channel).ListPosts(post_pb2.ListPostsRequest(follow=True), timeout=1)
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(stream))
    assert 0.9 < time.monotonic() - begun < 5


def a_cancelled_stream_ends_and_the_connection_stays_open(channel):
    stream = posts(channel).ListPosts(post_pb2.ListPostsRequest(follow=True))
    next(stream)
    stream.cancel()
    fails(grpc.StatusCode.CANCELLED, lambda: list(stream))
    a_user_is_found(channel)


def health_is_serving(channel):
    # As bytes: modules generated from the health proto would clash with a package of this implementation.
    service = b"post.v1.PostService"
    answer = channel.unary_unary("/grpc.health.v1.Health/Check")(b"\n%c%s" % (len(service), service), timeout=20)
    assert answer == b"\x08\x01", f"{answer} is not SERVING"


def calls_succeed_while_connections_reach_their_age(channel):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        a_user_is_found(channel)


def a_stream_of_an_aged_connection_resumes_without_a_gap(channel):
    position, sequences, ends = None, [], 0
    upload(channel, [f"aging-{n}" for n in range(10)])
    while ends < 2:
        request = post_pb2.ListPostsRequest(follow=True, resume_after=position)
        try:
            for batch in posts(channel).ListPosts(request, timeout=20):
                position = batch.position
                sequences += [message.sequence for message in batch.post_messages]
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            ends += 1
            upload(channel, [f"aged-{ends}"])
    assert sequences == sorted(set(sequences)) and sequences[:11] == list(range(1, 12)), sequences


def permitted_pings_get_no_strike():
    options = [("grpc.keepalive_time_ms", 1000), ("grpc.http2.max_pings_without_data", 0)]
    with grpc.insecure_channel(PERMISSIVE, options) as channel:
        stream = posts(channel).ListPosts(post_pb2.ListPostsRequest(follow=True), timeout=6)
        fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(stream))


def too_many_pings_are_answered_with_enhance_your_calm():
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel(STRICT, options) as channel:
        stream = posts(channel).TagFeed(iter(queue.Queue().get, None), timeout=15)
        error = fails(grpc.StatusCode.UNAVAILABLE, lambda: list(stream))
        assert "too_many_pings" in error.details().lower() or "too many pings" in error.details().lower(), error


if __name__ == "__main__":
    with grpc.insecure_channel(PERMISSIVE) as channel:
        the_four_kinds_work(channel)
        a_user_is_found(channel)
        many_failed_calls_are_not_treated_as_a_flood(channel)
        a_deadline_ends_a_stream(channel)
        a_cancelled_stream_ends_and_the_connection_stays_open(channel)
        health_is_serving(channel)
    with grpc.insecure_channel(AGING) as channel:
        calls_succeed_while_connections_reach_their_age(channel)
        a_stream_of_an_aged_connection_resumes_without_a_gap(channel)
    permitted_pings_get_no_strike()
    too_many_pings_are_answered_with_enhance_your_calm()
    print("gRPC C core (Python): all claims hold")
