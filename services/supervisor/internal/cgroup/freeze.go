package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of the freezer. In v1 it has its own hierarchy; in v2 each cgroup has the file. See
// cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst in the kernel documentation.
const (
	v1State  = "freezer.state" // THAWED, FREEZING or FROZEN
	v2Freeze = "cgroup.freeze" // 0 or 1
)

// freezeTimeout bounds how long Freeze waits. A process in uninterruptible sleep is frozen when it
// wakes up.
const freezeTimeout = 10 * time.Second

// errNoFreezer is returned by Freeze without the freezer of v1 or v2.
var errNoFreezer = errors.New("the host has no cgroup freezer")

// Freeze freezes a container's cgroup and returns when all of its processes are frozen.
func (l Layout) Freeze(ctx context.Context, uid string) error {
	dir, file, value := l.freezer(uid)
	if dir == "" {
		return errNoFreezer
	}

	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		// In v1, a process that forks meanwhile needs another write.
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
			return err
		}
		if isAllFrozen(dir) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cgroup %s does not freeze: %w", dir, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// freezer returns the cgroup of a container that has a freezer, and the file and value that freeze
// it.
func (l Layout) freezer(uid string) (dir, file, value string) {
	dirs := l.dirs(l.Path(uid))
	for file, value := range map[string]string{v1State: "FROZEN", v2Freeze: "1"} {
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil && (file == v1State || isPopulated(dir)) {
				return dir, file, value
			}
		}
	}
	return "", "", ""
}

// isPopulated reports whether a cgroup of v2 has processes, which in a hybrid layout can be in v1 only.
func isPopulated(dir string) bool {
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && strings.Contains(string(events), "populated 1")
}

// isAllFrozen reports whether all processes of a cgroup are frozen.
func isAllFrozen(dir string) bool {
	if state, err := os.ReadFile(filepath.Join(dir, v1State)); err == nil {
		return strings.TrimSpace(string(state)) == "FROZEN"
	}
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && strings.Contains(string(events), "frozen 1")
}

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
