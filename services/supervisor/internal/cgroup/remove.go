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

// patience is how long a killed process may take to leave its cgroup.
const patience = 10 * time.Second

// Pids are the processes in a container's cgroup, and in those below it.
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

// Remove ends every process of a container's cgroup and removes it, in every hierarchy. What is not there is no error.
func (l Layout) Remove(ctx context.Context, uid string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	thawed := sync.OnceFunc(func() { _ = l.Thaw(uid) }) // what is frozen does not end
	var errs []error
	for _, dir := range l.dirs(l.Path(uid)) {
		errs = append(errs, remove(ctx, dir, thawed))
	}
	return errors.Join(errs...)
}

// remove tries again while killed processes are still leaving.
func remove(ctx context.Context, dir string, thawed func()) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := removeOnce(dir)
		if err == nil {
			return nil
		}
		thawed()
		select {
		case <-ctx.Done():
			return fmt.Errorf("cgroup %s: %w; processes in it: %v", dir, err, pids(dir))
		case <-time.After(wait):
		}
	}
}

// removeOnce expects the usual case first: one empty cgroup.
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

// kill ends the processes of one cgroup: those that are there in one stroke where the kernel (5.14, v2) offers it.
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

// tree is a cgroup and all below it, parents first.
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
