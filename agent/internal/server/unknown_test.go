package server

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// newer adds a field to m that its definition does not have.
func newer[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1))
	return m
}

func TestUnknownFieldRefused(t *testing.T) {
	for name, req := range map[string]proto.Message{
		"request":   newer(&natv1.PublishRequest{Owner: "a"}),
		"list item": &natv1.PublishRequest{Mappings: []*natv1.PortMapping{{}, newer(&natv1.PortMapping{})}},
		"nested":    &containerv1.CreateContainerRequest{Config: newer(&containerv1.ContainerConfig{Image: "x"})},
	} {
		t.Run(name, func(t *testing.T) {
			err := rejectUnknown(req)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "has the unknown field 999 of ") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := rejectUnknown(&natv1.PublishRequest{Owner: "a", Mappings: []*natv1.PortMapping{{}}}); err != nil {
		t.Errorf("request without unknown fields: got error %v", err)
	}
}

// fixedStream receives one message.
type fixedStream struct {
	grpc.ServerStream
	raw []byte
}

func (s fixedStream) RecvMsg(m any) error { return proto.Unmarshal(s.raw, m.(proto.Message)) }

func TestForwardedCallAccepted(t *testing.T) {
	raw, err := proto.Marshal(&natv1.PublishRequest{Owner: "a"})
	if err != nil {
		t.Fatal(err)
	}
	s := endableStream{fixedStream{raw: raw}, t.Context()}
	if err := s.RecvMsg(new(emptypb.Empty)); err != nil {
		t.Errorf("forwarded call: got error %v", err)
	}
	if err := s.RecvMsg(new(natv1.FirewallNetwork)); err != nil && !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkRejectUnknown(b *testing.B) {
	req := &natv1.PublishRequest{Owner: strings.Repeat("a", 64),
		Mappings: []*natv1.PortMapping{{HostIp: "0.0.0.0"}, {HostIp: "::"}}}
	for b.Loop() {
		if err := rejectUnknown(req); err != nil {
			b.Fatal(err)
		}
	}
}
