package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"

	_ "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	_ "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

const (
	rpcRandomMessages = 12 // for each method, in addition to the systematic ones
	rpcDeadline       = time.Second
	rpcCallers        = 8
)

// rpcSockets maps the proto packages to the sockets of their services.
var rpcSockets = map[string]string{
	"fairlead.network.v1": "net.sock", "fairlead.nat.v1": "nat.sock", "fairlead.dns.v1": "dns.sock",
	"fairlead.container.v1": "supervisor.sock", "fairlead.host.v1": "supervisor.sock",
	"fairlead.agent.v1": "supervisor.sock",
}

// TestRPCsSurviveAnyMessage calls each RPC of each service with missing, empty, oversized and
// unexpected messages. None must panic or fail with INTERNAL, and the agent must still respond.
func TestRPCsSurviveAnyMessage(t *testing.T) {
	testns.NeedRoot(t)
	needPrograms(t, "crun", "conmon", "nft", "conntrack")
	a := rpcAgent(t)
	uid, err := a.CLI(t.Context(),
		"run", "-d", "--name", "c1", "--network", "n1", "-p", "8080:80", "busybox", "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := messages{rand.New(rand.NewPCG(seed, 1)), strings.TrimSpace(uid)}

	for _, method := range rpcMethods() {
		t.Run(string(method.Parent().Name())+"/"+string(method.Name()), func(t *testing.T) {
			socket := filepath.Join(a.ExecRoot(), rpcSockets[string(method.ParentFile().Package())])
			callAll(t, socket, method, m.of(method.Input()))
		})
	}

	if strings.Contains(a.Log(), "panic") {
		t.Error("the agent panicked; see its log")
	}

	if out, err := a.CLI(t.Context(), "ps", "-a"); err != nil {
		t.Errorf("the agent does not respond: %v\n%s", err, out)
	}

	if t.Failed() {
		t.Log(internalErrors(a.Log()))
	}
}

// rpcAgent starts an all-in-one agent and creates a network n1.
func rpcAgent(t *testing.T) *lab.Agent {
	t.Helper()
	l, err := lab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	r, err := registry.New(images(t))
	if err != nil {
		t.Fatal(err)
	}

	listener, err := l.Host.Listen("tcp", registryAddress)
	if err != nil {
		t.Fatal(err)
	}

	server := r.Serve(listener)
	t.Cleanup(func() { _ = server.Close() })
	keys := map[string]any{"registry-mirrors": []string{"http://" + registryAddress}}
	a, err := l.NewAgent(build(t), lab.AllInOne, keys)
	if err != nil {
		t.Fatal(err)
	}

	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	if _, err := a.CLI(t.Context(), "network", "create", "n1"); err != nil {
		t.Fatal(err)
	}

	return a
}

// rpcMethods returns all methods of Fairlead's services.
func rpcMethods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				if strings.HasPrefix(string(f.Package()), "fairlead.") {
					all = append(all, methods.Get(j))
				}
			}
		}
		return true
	})
	return all
}

// internalErrors returns the lines of a log that report internal errors of the agent.
func internalErrors(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "panic") || strings.Contains(line, "code=Internal") || strings.Contains(line, `"code":"Internal"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// callAll calls a method with each message, some at a time.
func callAll(t *testing.T, socket string, method protoreflect.MethodDescriptor, all []proto.Message) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	work := make(chan proto.Message)
	var callers sync.WaitGroup
	for range rpcCallers {
		callers.Go(func() {
			for m := range work {
				if err := call(t.Context(), conn, method, m); refused(err) != nil {
					text := fmt.Sprint(m)
					t.Errorf("%s\n  with %s", err, text[:min(len(text), 400)])
				}
			}
		})
	}

	for _, m := range all {
		work <- m
	}

	close(work)
	callers.Wait()
}

// refused returns err if no message must cause it, and nil otherwise. gRPC itself rejects a call
// without a message.
func refused(err error) error {
	if strings.Contains(status.Convert(err).Message(), "received no request message") {
		return nil
	}
	switch status.Code(err) {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return err
	}
	return nil
}

// call sends a message, or none if it is nil, and reads all responses.
func call(ctx context.Context, conn *grpc.ClientConn, method protoreflect.MethodDescriptor, m proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, rpcDeadline)
	defer cancel()
	desc := &grpc.StreamDesc{ClientStreams: method.IsStreamingClient(), ServerStreams: true}
	stream, err := conn.NewStream(ctx, desc, fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name()))
	if err != nil {
		return err
	}

	if m != nil {
		_ = stream.SendMsg(m) // the response has the error
	}

	_ = stream.CloseSend()
	for {
		err := stream.RecvMsg(dynamicpb.NewMessage(method.Output()))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// messages creates request messages.
type messages struct {
	random *rand.Rand
	uid    string
}

// of returns messages of one type: nil, an empty one, one for each value of each field, and random
// ones.
func (m messages) of(d protoreflect.MessageDescriptor) []proto.Message {
	all := []proto.Message{nil, dynamicpb.NewMessage(d)}
	for i := range d.Fields().Len() {
		field := d.Fields().Get(i)
		for n := range m.variants(field) {
			one := dynamicpb.NewMessage(d)
			m.set(one, field, n, 1+n%3)
			all = append(all, one)
		}
	}

	for range rpcRandomMessages {
		full := dynamicpb.NewMessage(d)
		m.fill(full, 4)
		all = append(all, full)
	}

	return all
}

// fill sets most fields to random values.
func (m messages) fill(to *dynamicpb.Message, depth int) {
	fields := to.Descriptor().Fields()
	for i := range fields.Len() {
		if m.random.IntN(3) > 0 {
			m.set(to, fields.Get(i), m.random.IntN(m.variants(fields.Get(i))), depth)
		}
	}
}

func (m messages) texts() []string {
	return []string{"", "c1", "n1", m.uid, "busybox", "bridge", "host", "none", "container:c1", "172.18.0.9",
		"fd00::1", "10.9.0.0/24", "::/0", "-1", "a\x00b", "../../etc", "%s%n", "a=b", "SIGKILL",
		"02:42:ac:11:00:02", "\u202e\n\t", strings.Repeat("x", 1<<16), m.uid[:12], "tcp", "eth0"}
}

// variants returns the number of values for a field.
func (m messages) variants(f protoreflect.FieldDescriptor) int {
	switch f.Kind() {
	case protoreflect.StringKind:
		return len(m.texts())
	case protoreflect.BoolKind:
		return 2
	}
	return 4
}

// set sets a field to one of its values: alone, as elements of a list, or as a value of a map.
func (m messages) set(to *dynamicpb.Message, f protoreflect.FieldDescriptor, n, depth int) {
	switch {
	case f.IsMap():
		entries := to.Mutable(f).Map()
		key := m.value(to, f.MapKey(), n, depth).MapKey()
		if f.MapValue().Message() != nil {
			value := entries.NewValue()
			m.fill(value.Message().Interface().(*dynamicpb.Message), depth-1)
			entries.Set(key, value)
			return
		}
		entries.Set(key, m.value(to, f.MapValue(), n, depth))
	case f.IsList():
		list := to.Mutable(f).List()
		for range []int{1, 2, 1000, 1}[n%4] {
			if f.Message() == nil {
				list.Append(m.value(to, f, n, depth))
				continue
			}
			element := list.NewElement()
			if n%2 == 0 && depth > 1 {
				m.fill(element.Message().Interface().(*dynamicpb.Message), depth-1)
			}
			list.Append(element)
			if n%4 == 2 && list.Len() >= 50 {
				return
			}
		}
	case f.Message() != nil:
		inner := to.NewField(f)
		if depth > 1 {
			m.fill(inner.Message().Interface().(*dynamicpb.Message), depth-1)
		}
		to.Set(f, inner)
	default:
		to.Set(f, m.value(to, f, n, depth))
	}
}

// value returns one of the values of a scalar.
func (m messages) value(_ *dynamicpb.Message, f protoreflect.FieldDescriptor, n, _ int) protoreflect.Value {
	pick := func(values ...int64) int64 { return values[n%len(values)] }
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(m.texts()[n%len(m.texts())])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, pick(0, 1, 1<<10, 1<<20)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(pick(0, 1, 2, 9999)))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(pick(0, -1, 1<<31-1, -1<<31)))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(pick(0, -1, 1<<63-1, -1<<63))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(pick(0, 80, 65536, 1<<32-1)))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(pick(0, 1, 1<<62, -1)))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(pick(0, -1, 1<<62, 1)))
	}

	return protoreflect.ValueOfFloat64(float64(pick(0, -1, 1<<62, 1)))
}
