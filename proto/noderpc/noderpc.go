// Package noderpc addresses calls to another host of a fleet: the agent that receives such a call
// forwards it to the agent of that host. The name is sent as metadata, so that it works for every
// method.
package noderpc

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// key is the metadata key of the name or ID of a host.
const key = "fairlead-node"

// To returns a context whose calls are addressed to a host, by name or ID. An empty name is the host
// of the agent that is called.
func To(ctx context.Context, node string) context.Context {
	if node == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, key, node)
}

// Of returns the host that an incoming call is addressed to. It is empty for the host that received
// the call.
func Of(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Strip removes the address from the metadata of a call.
func Strip(md metadata.MD) { md.Delete(key) }
