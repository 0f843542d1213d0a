package launch_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/devicerequest"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// The specifications of CDI are read once: what was checked is what the container gets.
func TestCheckedDevicesAreThoseOfContainer(t *testing.T) {
	h := newHost(t)
	h.CDI = []string{t.TempDir()}
	file := filepath.Join(h.CDI[0], "test.json")
	text := `{"cdiVersion":"0.6.0","kind":"test/gpu","devices":[{"name":"0","containerEdits":{"env":["GPU=%d"]}}]}`
	if err := os.WriteFile(file, fmt.Appendf(nil, text, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	h.onBegin = func(name string) {
		if name == "start monitor" {
			_ = os.WriteFile(file, fmt.Appendf(nil, text, 2), 0o600)
		}
	}
	req := request()
	req.Config.Security.DeviceRequests = []devicerequest.Request{{Driver: "cdi", IDs: []string{"test/gpu=0"}}}
	if _, err := h.Run(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(h.spec.Process.Env, "GPU=1") {
		t.Errorf("got environment %q, want GPU=1", h.spec.Process.Env)
	}
}

// An image that is removed meanwhile fails the launch, which leaves nothing.
func TestImageRemovedDuringCreation(t *testing.T) {
	h := newHost(t)
	h.image = &store.Image{ID: "sha256:11", Config: []byte(`{"config":{}}`)}
	if _, err := h.Run(t.Context(), request()); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
	h.wantHeld(t)
	if len(h.Store.ListContainers())+len(h.Store.ListVolumes()) > 0 || !h.Names.Take("web") {
		t.Error("a record or the name is left")
	}
}

// A failed reservation of a static address leaves nothing of the creation.
func TestFailedCreateLeavesNothing(t *testing.T) {
	for _, late := range []bool{false, true} {
		h := newHost(t)
		h.fail, h.late = "reserve addresses", late
		req := request()
		req.Config.Network.Attachments[0].IPv4 = netip.MustParseAddr("10.0.0.2")
		if _, err := h.Create(t.Context(), req); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		h.wantHeld(t)
		if len(h.Store.ListContainers())+len(h.Store.ListVolumes()) > 0 || !h.Names.Take("web") {
			t.Error("a record or the name is left")
		}
	}
}

// Data without a record is deleted only if it is marked as disposable. The mark of a start is none.
func TestUnknownDataIsQuarantined(t *testing.T) {
	for mode, deleted := range map[os.FileMode]bool{rootfs.DirectoryMode: false,
		rootfs.DirectoryMode | rootfs.Starting: false, rootfs.DirectoryMode | rootfs.Disposable: true} {
		h := newHost(t)
		uid := "lost"
		if err := os.MkdirAll(filepath.Join(h.Dir(uid), "upper"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(h.Dir(uid), mode); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.RemoveUnknown(uid); err != nil {
				t.Error(err)
			}
		}
		aside, _ := filepath.Glob(filepath.Join(h.dir, "quarantine", "*", uid, "upper"))
		if (len(aside) == 0) != deleted {
			t.Errorf("mode %v: got %q in the quarantine", mode, aside)
		}
		if _, err := os.Stat(h.Dir(uid)); err == nil {
			t.Errorf("mode %v: the directory is left", mode)
		}
	}
}
