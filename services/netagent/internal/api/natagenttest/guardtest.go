// Package natagenttest is a natagent for tests: it notes what it was asked, and answers as told. It guards nothing.
package natagenttest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// ErrDown is what a client of a natagent that is down gets.
var ErrDown = errors.New("connection refused")

// ErrTaken is what a client gets that guards the bridge of another network.
var ErrTaken = errors.New("bridge is another network's")

// Firewall is the client's side of a natagent.
type Firewall struct {
	natv1.FirewallServiceClient // nil: only PutNetwork, DeleteNetwork and ListNetworks are there

	// Deleting is called before a network is taken out, unless it is nil.
	Deleting func()
	// Lost are networks of a netagent before. While they are not deleted, no other network on their bridges is acknowledged.
	Lost []*natv1.FirewallNetwork

	mu   sync.Mutex
	down bool
	puts []*natv1.FirewallNetwork
	gone []string
}

// SetDown lets calls fail, or work again.
func (g *Firewall) SetDown(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

// Puts are the networks that were acknowledged, in their order.
func (g *Firewall) Puts() []*natv1.FirewallNetwork {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.puts
}

// Deleted are the ids of the networks that were taken out, in their order.
func (g *Firewall) Deleted() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}

// DeleteNetwork acknowledges.
func (g *Firewall) DeleteNetwork(_ context.Context, in *natv1.DeleteNetworkRequest, _ ...grpc.CallOption) (*natv1.DeleteNetworkResponse, error) {
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

// PutNetwork acknowledges.
func (g *Firewall) PutNetwork(_ context.Context, in *natv1.PutNetworkRequest, _ ...grpc.CallOption) (*natv1.PutNetworkResponse, error) {
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

// ListNetworks returns the lost ones.
func (g *Firewall) ListNetworks(context.Context, *natv1.ListNetworksRequest, ...grpc.CallOption) (*natv1.ListNetworksResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return nil, ErrDown
	}
	return &natv1.ListNetworksResponse{Networks: slices.Clone(g.Lost)}, nil
}
