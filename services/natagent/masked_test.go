package natagent_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/agent/test/testseccomp"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent"
)

func TestUnsupportedKernelIsRejected(t *testing.T) {
	if !testseccomp.WithoutNetfilter(t) {
		return
	}

	n := testns.New(t)
	open := func(backend string) error {
		s, err := natagent.New(context.Background(), natagent.Config{DataRoot: t.TempDir(),
			Log: slog.New(slog.DiscardHandler), NetNS: n.Fd(), FirewallBackend: backend})
		if err == nil {
			err = errors.Join(errors.New("it is served"), s.Close())
		}
		return err
	}

	wantFault(t, open(natagent.BackendNFTables), fault.Unavailable, "", "kernel: does not support nf_tables",
		"load the module or enable the option (CONFIG_NF_TABLES, module nf_tables)")

	// legacy iptables works without netlink
	for _, backend := range []string{natagent.BackendIPTables, natagent.BackendAuto} {
		wantFault(t, open(backend), fault.Unavailable, "", "kernel: does not support ctnetlink",
			"module nf_conntrack_netlink")
	}

	t.Setenv("PATH", t.TempDir())
	if err := open(natagent.BackendAuto); !strings.Contains(err.Error(), "does not support nf_tables") ||
		!strings.Contains(err.Error(), "install the package iptables") {
		t.Errorf("without iptables, too: %v", err)
	}
}
