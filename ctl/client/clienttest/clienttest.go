// Package clienttest is a fake agent for tests: a gRPC server on a Unix socket that answers calls
// from a script and records the requests. It does not depend on a service.
package clienttest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/proto/faultrpc"

	// The messages must be known for their methods to be answered.
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// Call is the response to one call: Answers and then Err, or the result of Serve.
type Call struct {
	Answers []proto.Message
	Err     error
	Serve   func(first proto.Message, s Stream) error
}

// Stream is the server side of a call.
type Stream interface {
	// Recv returns the next request, or io.EOF after the last.
	Recv() (proto.Message, error)
	// Send sends a response.
	Send(proto.Message) error
	// Context is canceled when the call ends.
	Context() context.Context
}

// Answers returns a call with these responses.
func Answers(messages ...proto.Message) Call { return Call{Answers: messages} }

// Fails returns a call that fails.
func Fails(err error) Call { return Call{Err: err} }

// Script maps the short name of a method, such as "GetContainer", to its calls. They are used in
// order; the last one is repeated.
type Script map[string][]Call

// Agent is a running fake agent.
type Agent struct {
	script Script
	server *grpc.Server
	dir    string        // holds the socket
	done   chan struct{} // closed when server has stopped

	mu       sync.Mutex
	served   map[string]int
	requests []proto.Message
}

// Start starts an agent and returns its address for client.Dial. Close stops it.
func Start(script Script) (*Agent, string, error) {
	dir, err := os.MkdirTemp("", "agent") // the paths of t.TempDir can be too long for a socket
	if err != nil {
		return nil, "", err
	}

	l, err := net.Listen("unix", path.Join(dir, "sock"))
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}

	a := &Agent{script: script, served: map[string]int{}, dir: dir, done: make(chan struct{})}
	a.server = grpc.NewServer(grpc.UnknownServiceHandler(a.handle))
	go func() {
		defer close(a.done)
		_ = a.server.Serve(l)
	}()

	return a, "unix://" + l.Addr().String(), nil
}

// Close stops the agent and removes its socket.
func (a *Agent) Close() error {
	a.server.Stop()
	<-a.done
	return os.RemoveAll(a.dir)
}

// Serve starts an agent that stops with the test and returns its address for client.Dial.
func Serve(t testing.TB, script Script) (*Agent, string) {
	t.Helper()
	a, host, err := Start(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, host
}

// Dial starts an agent and returns a client of it.
func Dial(t testing.TB, script Script) (*Agent, *client.Client) {
	t.Helper()
	a, host := Serve(t, script)
	c, err := client.Dial(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return a, c
}

// Kill stops the agent during its calls, like SIGKILL.
func (a *Agent) Kill() { a.server.Stop() }

// Requests returns the first request of each call in order of arrival.
func (a *Agent) Requests() []proto.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

func (a *Agent) handle(_ any, ss grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(ss)
	s, err := newStream(name, ss)
	if err != nil {
		return err
	}

	first, err := s.Recv()
	if err != nil {
		return err
	}

	call, ok := a.next(path.Base(name), first)
	if !ok {
		return status.Errorf(codes.Unimplemented, "the script has no call of %s", name)
	}
	if call.Serve != nil {
		return faultrpc.ToStatus(call.Serve(first, s))
	}

	for _, m := range call.Answers {
		if err := s.Send(m); err != nil {
			return err
		}
	}

	return faultrpc.ToStatus(call.Err)
}

func (a *Agent) next(method string, first proto.Message) (Call, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, first)
	calls := a.script[method]
	if len(calls) == 0 {
		return Call{}, false
	}
	n := min(a.served[method], len(calls)-1)
	a.served[method]++
	return calls[n], true
}

type stream struct {
	grpc.ServerStream
	input protoreflect.MessageType
}

func newStream(method string, ss grpc.ServerStream) (*stream, error) {
	service := protoreflect.FullName(path.Base(path.Dir(method)))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(service.Append(protoreflect.Name(path.Base(method))))
	if err != nil {
		return nil, status.Error(codes.Unimplemented, err.Error())
	}
	input, err := protoregistry.GlobalTypes.FindMessageByName(d.(protoreflect.MethodDescriptor).Input().FullName())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &stream{ss, input}, nil
}

func (s *stream) Recv() (proto.Message, error) {
	m := s.input.New().Interface()
	if err := s.RecvMsg(m); err != nil {
		return nil, err
	}
	return m, nil
}

func (s *stream) Send(m proto.Message) error { return s.SendMsg(m) }

// Drain reads requests until the client closes its side.
func Drain(s Stream) {
	for _, err := s.Recv(); err != io.EOF; _, err = s.Recv() {
		if err != nil {
			return
		}
	}
}
