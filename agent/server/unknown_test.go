package server

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/agent/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// newer is a message with a field that is not in its definition.
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
			err := refuseUnknown(req)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "has the unknown field 999 of ") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := refuseUnknown(&natv1.PublishRequest{Owner: "a", Mappings: []*natv1.PortMapping{{}}}); err != nil {
		t.Errorf("got %v for a request that is known", err)
	}
}

func BenchmarkRefuseUnknown(b *testing.B) {
	req := &natv1.PublishRequest{Owner: strings.Repeat("a", 64), Mappings: []*natv1.PortMapping{{HostIp: "0.0.0.0"}, {HostIp: "::"}}}
	for b.Loop() {
		if err := refuseUnknown(req); err != nil {
			b.Fatal(err)
		}
	}
}
