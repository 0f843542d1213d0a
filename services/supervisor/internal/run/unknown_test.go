package run_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
	"github.com/fairlead/fairlead/services/supervisor/internal/run"
)

// unknownData creates the directory of a container that is not in the store.
func unknownData(t *testing.T, h *host, uid string, mode os.FileMode) string {
	t.Helper()
	dir := filepath.Join(h.dir, "containers", uid)
	if err := os.MkdirAll(filepath.Join(dir, "upper"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "upper", "letter"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSweepQuarantinesUnknownData(t *testing.T) {
	h := newHost(t)
	lost, begun := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	unknownData(t, h, lost, rootfs.DirectoryMode)
	unknownData(t, h, begun, rootfs.DirectoryMode|rootfs.Disposable)
	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	left, _ := os.ReadDir(filepath.Join(h.dir, "containers"))
	if len(left) != 0 {
		t.Errorf("got %v left, want none", left)
	}

	quarantined, _ := filepath.Glob(filepath.Join(h.dir, "quarantine", "*", "*", "upper", "letter"))
	if len(quarantined) != 1 || !strings.Contains(quarantined[0], lost) {
		t.Errorf("got %v in the quarantine, want the letter of %s", quarantined, lost)
	}
}

func TestSweepKeepsUnknownProcess(t *testing.T) {
	h := newHost(t)
	uid := strings.Repeat("ab", 32)
	dir := unknownData(t, h, uid, rootfs.DirectoryMode)
	for _, what := range []string{"bundle", "sandbox", "ports", "names", "mount"} {
		h.hold(uid, what)
	}

	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, uid, "bundle", "mount", "names", "ports", "sandbox")
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// TestSweepKeepsExternalNamespaces has the sandbox of a CNI runtime, with ports and names.
func TestSweepKeepsExternalNamespaces(t *testing.T) {
	h := newHost(t)
	pod := strings.Repeat("ab", 32)
	for _, what := range []string{"external", "sandbox", "ports", "names"} {
		h.hold(pod, what)
	}
	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(t, pod, "external", "names", "ports", "sandbox")
	for _, f := range run.NewChecker(h.runner).Check(t.Context(), false) {
		if strings.Contains(f.Text, "not a stored container") {
			t.Errorf("got finding %s", f.Text)
		}
	}

	// After a reboot only ports and names are left of it.
	for _, what := range []string{"external", "sandbox"} {
		if err := h.drop(pod, what); err != nil {
			t.Fatal(err)
		}
	}
	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(t, pod)
}

// netagent reserved addresses for a creation, and was killed before it could release them.
func TestSweepReleasesStrayReservations(t *testing.T) {
	h := newHost(t)
	lost := strings.Repeat("ab", 32)
	h.hold(lost, "addresses")
	req := request("web")
	req.Config.Network.Attachments = []container.Attachment{{Network: "n1", IPv4: netip.MustParseAddr("10.1.0.9")}}
	created, err := h.runner.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}

	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, lost)
	h.wantHeld(t, created.Container.ID, "addresses")
}

func TestRunMarksDataUntilProcessStarts(t *testing.T) {
	h := newHost(t)
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(h.dir, "containers", launched.Container.ID))
	if err != nil || info.Mode()&(rootfs.Disposable|rootfs.Starting) != 0 {
		t.Errorf("got %v, %v; want a directory that is neither disposable nor starting", info, err)
	}
}

// The supervisor is killed after the process has been started and before this is stored. The start
// is undone; a restart is then completed.
func TestInterruptedStartIsUndone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		h := newHost(t)
		uid := h.launch(t, "web").Container.ID
		dir := filepath.Join(h.dir, "containers", uid)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, rootfs.DirectoryMode|rootfs.Starting); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.UpdateContainer(uid, func(c *container.Container) *container.Container {
			c = c.Ended(container.Exit{})
			if restart {
				c = c.Wanted(container.Ending{Goal: container.GoalRestarted})
			}
			return c
		}); err != nil {
			t.Fatal(err)
		}

		h.crash(t)
		if err := h.runner.Restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.wantHeld(t, uid)
		if info, err := os.Stat(dir); err != nil || info.Mode()&rootfs.Starting != 0 {
			t.Errorf("got %v, %v; want no mark", info, err)
		}

		h.runner.Resume()
		if !restart {
			continue
		}
		eventually(t, "the start", func() bool { c, err := h.runner.Find("web"); return err == nil && c.IsRunning() })
	}
}

func TestSweepRegistersLostNamesAgain(t *testing.T) {
	h := newHost(t)
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}

	uid := launched.Container.ID
	if err := h.drop(uid, "names"); err != nil {
		t.Fatal(err)
	}

	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	if !slices.Contains(h.heldBy(uid), "names") {
		t.Errorf("got %v held, want names among it", h.heldBy(uid))
	}
}

func TestBuildStepsAreKept(t *testing.T) {
	h := newHost(t)
	step := strings.Repeat("c", 64)
	running := true
	h.runner.BuildStep = func(uid string) bool { return running && uid == step }
	h.hold(step, "sandbox")
	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := problems(run.NewChecker(h.runner).Check(t.Context(), false)); got != "" {
		t.Errorf("got problems %q", got)
	}
	h.wantHeld(t, step, "sandbox")

	running = false
	if err := run.NewSweeper(h.runner).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(t, step)
}
