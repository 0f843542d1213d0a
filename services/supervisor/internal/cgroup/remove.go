package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// exitTimeout limits the time until a killed process has left its cgroup.
const exitTimeout = 10 * time.Second

// Pids returns the processes in a container's cgroup and those below it.
func (l Layout) Pids(uid string) []int {
	var out []int
	for _, dir := range l.dirs(l.Path(uid)) {
		for _, sub := range tree(dir) {
			out = append(out, pids(sub)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Remove kills all processes in a container's cgroup and removes it from every hierarchy. It does
// nothing if the cgroup does not exist.
func (l Layout) Remove(ctx context.Context, uid string) error {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	thawed := sync.OnceFunc(func() { _ = l.Thaw(uid) }) // frozen processes do not exit
	var errs []error
	for _, dir := range l.dirs(l.Path(uid)) {
		errs = append(errs, remove(ctx, dir, thawed))
	}
	return errors.Join(errs...)
}

// remove retries while killed processes are exiting.
func remove(ctx context.Context, dir string, thawed func()) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := removeOnce(dir)
		if err == nil {
			return nil
		}
		thawed()
		select {
		case <-ctx.Done():
			return fmt.Errorf("cgroup %s: %w; it contains the processes %v", dir, err, pids(dir))
		case <-time.After(wait):
		}
	}
}

// removeOnce tries the usual case first: one empty cgroup.
func removeOnce(dir string) error {
	if err := ignoreMissing(os.Remove(dir)); err == nil {
		return nil
	}
	var last error
	for _, sub := range slices.Backward(tree(dir)) {
		kill(sub)
		if err := ignoreMissing(os.Remove(sub)); err != nil {
			last = err
		}
	}
	return last
}

// kill kills the processes of one cgroup: atomically if the kernel supports it (v2, Linux 5.14).
func kill(dir string) {
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	for _, pid := range pids(dir) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func pids(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			out = append(out, pid)
		}
	}
	return out
}

// tree returns a cgroup and all below it, parents first.
func tree(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	return out
}
