"""A server of the contract as grpcio's tutorials write it: a pool of threads, messages in a list, one post per message.

The bench starts it with the descriptors of the contract: no code is generated.
Not here: TagFeed.
"""

import sys
from collections import defaultdict
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

USERS = 1000  # as many as the bench has
THREADS = 10


class Contract:
    """The messages of the contract, made from its descriptors."""

    def __init__(self, path):
        pool = descriptor_pool.DescriptorPool()
        with open(path, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
        for file in files.file:
            pool.Add(file)
        service = pool.FindServiceByName("post.v1.PostService")
        self.service = service.full_name
        for method in service.methods:
            for message in (method.input_type, method.output_type):
                setattr(self, message.name, message_factory.GetMessageClass(message))
        post = pool.FindMessageTypeByName("post.v1.PostMessage")
        self.PostMessage = message_factory.GetMessageClass(post)


class PostServer:
    """The calls. Each upload replaces the stored posts as a whole."""

    def __init__(self, contract):
        self.contract = contract
        ids = [f"user-{index:04}" for index in range(USERS)]
        self.names = {user_id: f"Name of {user_id}" for user_id in ids}
        self.stored = [], {}

    def handlers(self):
        """What grpcio's generated code would register."""
        contract = self.contract

        def handler(make, call, request, response):
            return make(call, request.FromString, response.SerializeToString)

        return {
            "ListPostsByUserId": handler(
                grpc.unary_unary_rpc_method_handler, self.list_posts_by_user_id,
                contract.ListPostsByUserIdRequest, contract.ListPostsByUserIdResponse),
            "ListPosts": handler(
                grpc.unary_stream_rpc_method_handler, self.list_posts,
                contract.ListPostsRequest, contract.ListPostsResponse),
            "UploadPosts": handler(
                grpc.stream_unary_rpc_method_handler, self.upload_posts,
                contract.UploadPostsRequest, contract.UploadPostsResponse),
        }

    def fill(self, post, stored, index):
        """The post that a reader gets: the stored one with the name of its writer."""
        post.CopyFrom(stored[index])
        post.sequence = index + 1
        post.author = self.names[post.user_id]

    def list_posts_by_user_id(self, request, _context):
        posts, by_user = self.stored
        response = self.contract.ListPostsByUserIdResponse()
        for index in by_user.get(request.user_id, ()):
            self.fill(response.post_messages.add(), posts, index)
        return response

    def list_posts(self, _request, _context):
        posts, _ = self.stored
        for index in range(len(posts)):
            response = self.contract.ListPostsResponse()
            self.fill(response.post_messages.add(), posts, index)
            yield response

    def upload_posts(self, requests, context):
        posts, by_user, complete = [], defaultdict(list), False
        for request in requests:
            payload = request.WhichOneof("payload")
            if payload == "post_message":
                post = request.post_message
                post.create_time.seconds, post.create_time.nanos = 1767225600, 123456789
                by_user[post.user_id].append(len(posts))
                posts.append(post)
            elif payload == "finish":
                complete = request.finish.post_count == len(posts)
            else:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a message without payload")
        self.stored = posts, dict(by_user)
        return self.contract.UploadPostsResponse(created_count=len(posts), complete=complete)


def main():
    contract = Contract(sys.argv[1])
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=THREADS))
    handlers = PostServer(contract).handlers()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(contract.service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
