package natagent_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// TestDescriptorsAbove1023 covers descriptors that select(2) does not support.
func TestDescriptorsAbove1023(t *testing.T) {
	for opened := false; !opened; {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Skipf("this machine gives a process too few descriptors: %v", err)
		}
		defer func() { _ = f.Close() }()
		opened = f.Fd() > 1100
	}

	for _, backend := range backends() {
		r := startWith(t, testns.New(t), t.TempDir(), backend, io.Discard)
		mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
		if _, err := r.CheckHostFirewall(context.Background(),
			&natv1.CheckHostFirewallRequest{Bindings: []*natv1.PortBinding{reviewed("0.0.0.0", 8080)}}); err != nil {
			t.Error(err)
		}
		release(t, r, "a")
		found, err := r.Diagnose(context.Background(), &natv1.DiagnoseRequest{})
		if err != nil || len(found.GetFindings()) == 0 {
			t.Errorf("%s: doctor: %v, %v", backend, found, err)
		}
		for _, f := range found.GetFindings() {
			if strings.Contains(f.GetMessage(), "panic") {
				t.Errorf("%s: doctor: %v", backend, f)
			}
		}
		r.stop()
	}
}
