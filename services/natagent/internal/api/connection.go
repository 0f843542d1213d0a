package api

import (
	"context"
	"net/netip"
	"sync/atomic"

	"google.golang.org/grpc"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent/internal/connections"
	"github.com/fairlead/fairlead/services/natagent/internal/ippacket"
)

// Connections lists the connections of containers.
type Connections interface {
	List(ctx context.Context, addresses []netip.Addr, each func(connections.Connection) error) error
	Watch(ctx context.Context, addresses []netip.Addr, started, lost func(),
		each func(connections.Connection) error) error
}

// connectionBatch is the number of connections of one response.
const connectionBatch = 256

// connectionServer implements fairlead.nat.v1.ConnectionService.
type connectionServer struct {
	natv1.UnimplementedConnectionServiceServer
	connections Connections
}

// WatchConnections implements ConnectionServiceServer. The kernel's events are subscribed before the
// list begins, so that none is missed; they wait in the socket meanwhile.
func (s *connectionServer) WatchConnections(req *natv1.WatchConnectionsRequest,
	stream grpc.ServerStreamingServer[natv1.WatchConnectionsResponse]) error {
	addresses, err := policyAddresses(req.GetAddresses())
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if !req.GetFollow() {
		return s.list(ctx, addresses, stream.Send)
	}

	var lost atomic.Uint64
	var failed error
	watching, stop := context.WithCancel(ctx)
	defer stop()
	started := func() {
		if failed = s.list(ctx, addresses, stream.Send); failed != nil {
			stop()
		}
	}
	err = s.connections.Watch(watching, addresses, started, func() { lost.Add(1) },
		func(c connections.Connection) error {
			return stream.Send(&natv1.WatchConnectionsResponse{Lost: lost.Load(),
				Connections: []*natv1.Connection{connectionToProto(c)}})
		})
	if failed != nil {
		return failed
	}
	return err
}

// list sends the open connections.
func (s *connectionServer) list(ctx context.Context, addresses []netip.Addr,
	send func(*natv1.WatchConnectionsResponse) error) error {
	resp := &natv1.WatchConnectionsResponse{}
	err := s.connections.List(ctx, addresses, func(c connections.Connection) error {
		resp.Connections = append(resp.Connections, connectionToProto(c))
		if len(resp.Connections) < connectionBatch {
			return nil
		}
		full := resp
		resp = &natv1.WatchConnectionsResponse{}
		return send(full)
	})
	if err != nil {
		return err
	}
	return send(resp)
}

func connectionToProto(c connections.Connection) *natv1.Connection {
	p := &natv1.Connection{Protocol: ippacket.ProtocolName(c.Protocol), Source: c.From.Addr().String(),
		Destination: c.To.Addr().String(), Target: c.Target.Addr().String(), State: c.State, Replied: c.Replied,
		Counted: c.Counted, SentPackets: c.Sent.Packets, SentBytes: c.Sent.Bytes,
		ReceivedPackets: c.Received.Packets, ReceivedBytes: c.Received.Bytes, Rule: c.Rule,
		Event: eventToProto(c.Event)}
	if c.HasPorts() {
		p.SourcePort, p.DestinationPort = uint32(c.From.Port()), uint32(c.To.Port())
		p.TargetPort = uint32(c.Target.Port())
	}
	return p
}

func eventToProto(e connections.Event) natv1.ConnectionEvent {
	switch e {
	case connections.Began:
		return natv1.ConnectionEvent_CONNECTION_EVENT_NEW
	case connections.Ended:
		return natv1.ConnectionEvent_CONNECTION_EVENT_END
	case connections.Open:
	}
	return natv1.ConnectionEvent_CONNECTION_EVENT_OPEN
}
