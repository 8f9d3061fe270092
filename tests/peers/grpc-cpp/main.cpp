// A server of the contract on gRPC C++'s callback API, as its tutorials write it: messages in a
// vector, copied for every reader, one post per message. The bench builds it, with the generated
// code beside it.
//
// Not here: TagFeed.
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "post/v1/post.grpc.pb.h"

namespace {

using grpc::CallbackServerContext;
using grpc::Status;
using grpc::StatusCode;
using namespace post::v1;

// The same number of users as in the bench.
constexpr int kUsers = 1000;

// The last upload. Readers share it; it is immutable.
struct Stored {
  std::vector<PostMessage> posts;
  std::unordered_map<std::string, std::vector<size_t>> by_user;
};

using Names = std::unordered_map<std::string, std::string>;

Names AllNames() {
  Names names;
  for (int index = 0; index < kUsers; ++index) {
    char id[16];
    std::snprintf(id, sizeof id, "user-%04d", index);
    names[id] = std::string("Name of ") + id;
  }
  return names;
}

// The post that a reader gets: the stored one with the name of its writer.
void Fill(const Stored& stored, const Names& names, size_t index, PostMessage* post) {
  post->CopyFrom(stored.posts[index]);
  post->set_sequence(static_cast<int64_t>(index) + 1);
  auto name = names.find(post->user_id());
  if (name != names.end()) post->set_author(name->second);
}

// Writes the next post when the previous one was taken.
class Lister final : public grpc::ServerWriteReactor<ListPostsResponse> {
 public:
  Lister(std::shared_ptr<const Stored> stored, const Names& names)
      : stored_(std::move(stored)), names_(names) {
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      Finish(Status::CANCELLED);
    }
  }

  void OnDone() override { delete this; }

 private:
  void Next() {
    if (index_ == stored_->posts.size()) return Finish(Status::OK);
    response_.clear_post_messages();
    Fill(*stored_, names_, index_++, response_.add_post_messages());
    StartWrite(&response_);
  }

  const std::shared_ptr<const Stored> stored_;
  const Names& names_;
  size_t index_ = 0;
  ListPostsResponse response_;
};

class PostServer final : public PostService::CallbackService {
 public:
  grpc::ServerUnaryReactor* ListPostsByUserId(CallbackServerContext* context,
                                              const ListPostsByUserIdRequest* request,
                                              ListPostsByUserIdResponse* response) override {
    auto stored = Current();
    auto indexes = stored->by_user.find(request->user_id());
    if (indexes != stored->by_user.end()) {
      for (size_t index : indexes->second) {
        Fill(*stored, names_, index, response->add_post_messages());
      }
    }
    auto* reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }

  grpc::ServerWriteReactor<ListPostsResponse>* ListPosts(CallbackServerContext*,
                                                         const ListPostsRequest*) override {
    return new Lister(Current(), names_);
  }

  grpc::ServerReadReactor<UploadPostsRequest>* UploadPosts(CallbackServerContext*,
                                                           UploadPostsResponse* response) override {
    return new Uploader(this, response);
  }

 private:
  // Collects the posts, and replaces the stored ones at the end.
  class Uploader final : public grpc::ServerReadReactor<UploadPostsRequest> {
   public:
    Uploader(PostServer* server, UploadPostsResponse* response) : server_(server), response_(response) {
      StartRead(&request_);
    }

    void OnReadDone(bool ok) override {
      if (!ok) return Done();
      if (request_.has_post_message()) {
        Keep(request_.mutable_post_message());
      } else if (request_.has_finish()) {
        complete_ = request_.finish().post_count() == static_cast<int64_t>(stored_->posts.size());
      } else {
        return Finish(Status(StatusCode::INVALID_ARGUMENT, "a message without payload"));
      }
      StartRead(&request_);
    }

    void OnDone() override { delete this; }

   private:
    void Keep(PostMessage* post) {
      post->mutable_create_time()->set_seconds(1767225600);
      post->mutable_create_time()->set_nanos(123456789);
      stored_->by_user[post->user_id()].push_back(stored_->posts.size());
      stored_->posts.push_back(std::move(*post));
    }

    void Done() {
      response_->set_created_count(static_cast<int64_t>(stored_->posts.size()));
      response_->set_complete(complete_);
      server_->Replace(std::move(stored_));
      Finish(Status::OK);
    }

    PostServer* const server_;
    UploadPostsResponse* const response_;
    UploadPostsRequest request_;
    std::shared_ptr<Stored> stored_ = std::make_shared<Stored>();
    bool complete_ = false;
  };

  std::shared_ptr<const Stored> Current() {
    std::lock_guard<std::mutex> lock(mutex_);
    return stored_;
  }

  void Replace(std::shared_ptr<const Stored> stored) {
    std::lock_guard<std::mutex> lock(mutex_);
    stored_ = std::move(stored);
  }

  const Names names_ = AllNames();
  std::mutex mutex_;
  std::shared_ptr<const Stored> stored_ = std::make_shared<Stored>();
};

}  // namespace

int main() {
  PostServer service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("listening on http://127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server->Wait();
}
