package natagent_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

func TestSecondNatagentOnStateIsRejected(t *testing.T) {
	n := testns.New(t)
	root := t.TempDir()
	start(t, n, root, io.Discard)
	if _, err := newService(n, root, io.Discard); !fault.Is(err, fault.Busy) {
		t.Errorf("got %v, want a Busy fault", err)
	}
}

func TestSecondNatagentInNamespaceIsRejected(t *testing.T) {
	n := testns.New(t)
	features, err := nftables.Probe(t.Context(), hostns.At(n.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if !features.Owner {
		t.Skip("needs table owners (Linux 6.9)")
	}

	start(t, n, t.TempDir(), io.Discard)
	second, err := newService(n, t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := second.Run(ctx, func() { t.Error("ready") }); !fault.Is(err, fault.Busy) {
		t.Errorf("got %v, want a Busy fault", err)
	}
}
