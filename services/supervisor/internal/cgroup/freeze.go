package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Files of the freezer. In v1 it has its own hierarchy; in v2 each cgroup has the file. See
// cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst in the kernel documentation.
const (
	v1State  = "freezer.state" // THAWED, FREEZING or FROZEN
	v2Freeze = "cgroup.freeze" // 0 or 1
)

// Thaw thaws a container's cgroup and those below it. A frozen process of v1 does not even react to
// SIGKILL. A cgroup frozen by its parent stays frozen; see Frozen.
func (l Layout) Thaw(uid string) error {
	var errs []error
	for _, dir := range l.dirs(l.Path(uid)) {
		errs = append(errs, thaw(dir))
	}
	return errors.Join(errs...)
}

func thaw(dir string) error {
	if !isFrozen(dir) {
		return nil
	}

	var errs []error
	for _, sub := range tree(dir) {
		for file, text := range map[string]string{v1State: "THAWED", v2Freeze: "0"} {
			if err := os.WriteFile(filepath.Join(sub, file), []byte(text), 0); !errors.Is(err, os.ErrNotExist) &&
				!errors.Is(err, os.ErrPermission) {
				errs = append(errs, err)
			}
		}
	}

	return errors.Join(errs...)
}

// Frozen returns the cgroup that freezes a container: its own, one below or one above it. It
// returns "" if none does.
func (l Layout) Frozen(uid string) string {
	for i, dir := range l.dirs(l.Path(uid)) {
		for _, sub := range tree(dir) {
			if freezes(sub) {
				return sub
			}
		}
		for above := filepath.Dir(dir); strings.HasPrefix(above, l.Mounts[i]); above = filepath.Dir(above) {
			if freezes(above) {
				return above
			}
		}
	}

	return ""
}

// isFrozen reports whether a cgroup, or one below it, is frozen or freezing.
func isFrozen(dir string) bool {
	for _, sub := range tree(dir) {
		if freezes(sub) {
			return true
		}
	}
	return false
}

// freezes reports whether a cgroup itself was frozen, not its parent.
func freezes(dir string) bool {
	if parent, err := os.ReadFile(filepath.Join(dir, "freezer.self_freezing")); err == nil {
		return strings.TrimSpace(string(parent)) == "1"
	}
	frozen, err := os.ReadFile(filepath.Join(dir, v2Freeze))
	return err == nil && strings.TrimSpace(string(frozen)) == "1"
}
