package run_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/rootfs"
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
	if err := h.runner.Sweep(t.Context()); err != nil {
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

	if err := h.runner.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.wantHeld(t, uid, "bundle", "mount", "names", "ports", "sandbox")
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestRunMarksDataUntilProcessStarts(t *testing.T) {
	h := newHost(t)
	launched, err := h.runner.Run(t.Context(), request("web"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(h.dir, "containers", launched.Container.ID))
	if err != nil || info.Mode()&rootfs.Disposable != 0 {
		t.Errorf("got %v, %v; want a directory that is not disposable", info, err)
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

	if err := h.runner.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}

	if !slices.Contains(h.heldBy(uid), "names") {
		t.Errorf("got %v held, want names among it", h.heldBy(uid))
	}
}
