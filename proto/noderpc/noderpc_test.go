package noderpc_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/proto/noderpc"
)

func TestAddressOfACall(t *testing.T) {
	for _, node := range []string{"", "two"} {
		out, _ := metadata.FromOutgoingContext(noderpc.To(context.Background(), node))
		in := metadata.NewIncomingContext(context.Background(), out)
		if got := noderpc.Of(in); got != node {
			t.Errorf("got %q, want %q", got, node)
		}
		noderpc.Strip(out)
		if len(out) != 0 {
			t.Errorf("got %v left", out)
		}
	}
	if got := noderpc.Of(context.Background()); got != "" {
		t.Errorf("got %q without metadata", got)
	}
}
