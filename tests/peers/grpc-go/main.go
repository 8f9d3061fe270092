// A server of the contract as grpc-go's tutorials write it: structs in a slice, one post per
// message, a channel for each subscriber of a feed. The bench builds it, with the generated code
// beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	post "quartet/grpc-go/post/v1"
)

// The same number of users as in the bench.
const users = 1000

// Posts that wait for a subscriber before the publisher waits for it too.
const waiting = 64

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	post.RegisterPostServiceServer(server, newService())
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}

type service struct {
	post.UnimplementedPostServiceServer
	names map[string]string

	mutex  sync.RWMutex
	posts  []*post.PostMessage
	byUser map[string][]int

	feed        sync.RWMutex
	subscribers map[string]map[subscriber]struct{}
}

// A subscriber has posts waiting, until its stream is done.
type subscriber struct {
	posts chan *post.PostMessage
	done  <-chan struct{}
}

func newService() *service {
	names := make(map[string]string, users)
	for index := range users {
		id := fmt.Sprintf("user-%04d", index)
		names[id] = "Name of " + id
	}
	return &service{names: names, subscribers: map[string]map[subscriber]struct{}{}}
}

func (s *service) stored() ([]*post.PostMessage, map[string][]int) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return s.posts, s.byUser
}

// withAuthor makes the post that a reader gets. It copies the stored post, because other readers
// share it.
func (s *service) withAuthor(stored *post.PostMessage, sequence int) *post.PostMessage {
	return &post.PostMessage{
		PostId:     stored.PostId,
		Author:     s.names[stored.UserId],
		Title:      stored.Title,
		Body:       stored.Body,
		Tags:       stored.Tags,
		UserId:     stored.UserId,
		Sequence:   int64(sequence),
		CreateTime: stored.CreateTime,
	}
}

func (s *service) ListPostsByUserId(_ context.Context, request *post.ListPostsByUserIdRequest) (*post.ListPostsByUserIdResponse, error) {
	posts, byUser := s.stored()
	response := &post.ListPostsByUserIdResponse{}
	for _, index := range byUser[request.UserId] {
		response.PostMessages = append(response.PostMessages, s.withAuthor(posts[index], index+1))
	}
	return response, nil
}

func (s *service) ListPosts(_ *post.ListPostsRequest, stream grpc.ServerStreamingServer[post.ListPostsResponse]) error {
	posts, _ := s.stored()
	for index, stored := range posts {
		message := s.withAuthor(stored, index+1)
		if err := stream.Send(&post.ListPostsResponse{PostMessages: []*post.PostMessage{message}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) UploadPosts(stream grpc.ClientStreamingServer[post.UploadPostsRequest, post.UploadPostsResponse]) error {
	var posts []*post.PostMessage
	byUser := map[string][]int{}
	complete := false
	createTime := &timestamppb.Timestamp{Seconds: 1767225600, Nanos: 123456789}
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch payload := request.Payload.(type) {
		case *post.UploadPostsRequest_PostMessage:
			message := payload.PostMessage
			message.CreateTime = createTime
			byUser[message.UserId] = append(byUser[message.UserId], len(posts))
			posts = append(posts, message)
		case *post.UploadPostsRequest_Finish:
			complete = payload.Finish.PostCount == int64(len(posts))
		default:
			return status.Error(codes.InvalidArgument, "a message without payload")
		}
	}
	s.mutex.Lock()
	s.posts, s.byUser = posts, byUser
	s.mutex.Unlock()
	return stream.SendAndClose(&post.UploadPostsResponse{CreatedCount: int64(len(posts)), Complete: complete})
}

// TagFeed has a goroutine that reads and one that writes, as the tutorials do: a stream takes one sender.
func (s *service) TagFeed(stream grpc.BidiStreamingServer[post.TagFeedRequest, post.TagFeedResponse]) error {
	// The headers are sent before anything is read.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	self := subscriber{make(chan *post.PostMessage, waiting), stream.Context().Done()}
	answers := make(chan *post.TagFeedResponse)
	ended := make(chan error, 1)
	go func() { ended <- s.read(stream, self, answers) }()
	defer s.leave(self)
	for {
		var response *post.TagFeedResponse
		select {
		case message := <-self.posts:
			batch := &post.PostBatch{PostMessages: []*post.PostMessage{message}}
			response = &post.TagFeedResponse{Payload: &post.TagFeedResponse_Posts{Posts: batch}}
		case response = <-answers:
		case err := <-ended:
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func (s *service) read(stream grpc.BidiStreamingServer[post.TagFeedRequest, post.TagFeedResponse], self subscriber, answers chan *post.TagFeedResponse) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var answer *post.TagFeedResponse
		switch payload := request.Payload.(type) {
		case *post.TagFeedRequest_Join:
			s.join(payload.Join.Tags, self)
			joined := &post.Joined{Tags: payload.Join.Tags}
			answer = &post.TagFeedResponse{Payload: &post.TagFeedResponse_Joined{Joined: joined}}
		case *post.TagFeedRequest_Publish:
			message := payload.Publish.PostMessage
			s.publish(message)
			receipt := &post.Receipt{PostId: message.PostId}
			answer = &post.TagFeedResponse{Payload: &post.TagFeedResponse_Receipt{Receipt: receipt}}
		default:
			return status.Error(codes.InvalidArgument, "join and publish only")
		}
		select {
		case answers <- answer:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *service) join(tags []string, self subscriber) {
	s.feed.Lock()
	defer s.feed.Unlock()
	for _, tag := range tags {
		if s.subscribers[tag] == nil {
			s.subscribers[tag] = map[subscriber]struct{}{}
		}
		s.subscribers[tag][self] = struct{}{}
	}
}

func (s *service) leave(self subscriber) {
	s.feed.Lock()
	defer s.feed.Unlock()
	for tag, subscribers := range s.subscribers {
		delete(subscribers, self)
		if len(subscribers) == 0 {
			delete(s.subscribers, tag)
		}
	}
}

// publish waits for the slowest subscriber: nothing is dropped.
func (s *service) publish(message *post.PostMessage) {
	message = s.withAuthor(message, 0)
	s.feed.RLock()
	defer s.feed.RUnlock()
	for _, tag := range message.Tags {
		for subscriber := range s.subscribers[tag] {
			select {
			case subscriber.posts <- message:
			case <-subscriber.done:
			}
		}
	}
}
