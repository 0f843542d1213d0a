// Package natagenttest provides a fake natagent for tests. It records calls and applies no rules.
package natagenttest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// ErrDown is returned while natagent is down.
var ErrDown = errors.New("connection refused")

// ErrTaken is returned for a network whose bridge belongs to another network.
var ErrTaken = errors.New("bridge belongs to another network")

// Firewall is a fake client of natagent's firewall service.
type Firewall struct {
	natv1.FirewallServiceClient // nil: only the methods below are implemented

	// Deleting is called before a network is deleted, unless it is nil.
	Deleting func()
	// Putting is called before a network is acknowledged, unless it is nil.
	Putting func()
	// Lost holds networks from a lost state. PutNetwork fails for their bridges until they are
	// deleted.
	Lost []*natv1.FirewallNetwork

	mu   sync.Mutex
	down bool
	puts []*natv1.FirewallNetwork
	gone []string
}

// SetDown makes calls fail or succeed.
func (g *Firewall) SetDown(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

// Puts returns the acknowledged networks, in order.
func (g *Firewall) Puts() []*natv1.FirewallNetwork {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.puts
}

// Deleted returns the ids of the deleted networks, in order.
func (g *Firewall) Deleted() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}

// DeleteNetwork deletes a network.
func (g *Firewall) DeleteNetwork(_ context.Context, in *natv1.DeleteNetworkRequest,
	_ ...grpc.CallOption) (*natv1.DeleteNetworkResponse, error) {
	if g.Deleting != nil {
		g.Deleting()
	}

	g.mu.Lock()
	defer g.mu.Unlock()

	if g.down {
		return nil, ErrDown
	}

	g.gone = append(g.gone, in.GetId())
	g.Lost = slices.DeleteFunc(g.Lost, func(n *natv1.FirewallNetwork) bool { return n.GetId() == in.GetId() })
	return &natv1.DeleteNetworkResponse{}, nil
}

// PutNetwork acknowledges a network.
func (g *Firewall) PutNetwork(_ context.Context, in *natv1.PutNetworkRequest,
	_ ...grpc.CallOption) (*natv1.PutNetworkResponse, error) {
	if g.Putting != nil {
		g.Putting()
	}

	g.mu.Lock()
	defer g.mu.Unlock()

	if g.down {
		return nil, ErrDown
	}

	for _, lost := range g.Lost {
		if lost.GetBridge() == in.GetNetwork().GetBridge() {
			return nil, ErrTaken
		}
	}

	g.puts = append(g.puts, in.GetNetwork())
	return &natv1.PutNetworkResponse{}, nil
}

// ListNetworks returns the lost networks.
func (g *Firewall) ListNetworks(context.Context, *natv1.ListNetworksRequest,
	...grpc.CallOption) (*natv1.ListNetworksResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return nil, ErrDown
	}
	return &natv1.ListNetworksResponse{Networks: slices.Clone(g.Lost)}, nil
}
