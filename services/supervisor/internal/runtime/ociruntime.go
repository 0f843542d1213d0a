package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// flavor identifies runtimes with known behavior beyond the OCI command line.
type flavor int

const (
	other flavor = iota
	crun
	runc
)

// ociRuntime is the program of an OCI runtime.
type ociRuntime struct {
	path   string
	flavor flavor

	mu     sync.Mutex
	sealed *os.File // a sealed copy in memory; nil if it does not exist
	source unix.Stat_t
}

// probeTimeout limits the version request to a program.
const probeTimeout = 20 * time.Second

// findConmon finds and probes conmon.
func (d *Driver) findConmon(ctx context.Context) error {
	path, err := lookPath(d.cfg.Conmon, "conmon")
	if err == nil {
		_, err = probe(ctx, path)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "conmon", "is not usable", fault.WithCause(err),
			fault.WithHint("install the package conmon"))
	}
	d.conmon = path
	return nil
}

// findRuntimes finds crun, runc and the configured runtimes, and selects the default.
func (d *Driver) findRuntimes(ctx context.Context) error {
	for _, name := range []string{"crun", "runc"} {
		if path, err := lookPath("", name); err == nil && d.cfg.Runtimes[name] == "" {
			if r, err := newRuntime(ctx, path); err == nil {
				d.known[name] = r
			}
		}
	}

	for name, path := range d.cfg.Runtimes {
		r, err := newRuntime(ctx, path)
		if err != nil {
			return unusable(name, err)
		}
		d.known[name] = r
	}

	if d.cfg.Default != "" {
		r, err := d.find(d.cfg.Default)
		d.standard = r
		return err
	}

	return d.choose()
}

// choose selects crun, the faster one, unless it does not support the host's cgroup layout.
func (d *Driver) choose() error {
	mixed := d.cfg.Cgroup.CheckCrun()
	fast, slow := d.known["crun"], d.known["runc"]
	switch {
	case fast != nil && mixed == nil:
		d.standard = fast
	case slow != nil:
		d.standard = slow
		if mixed != nil && fast != nil {
			d.cfg.Log.Warn("crun unusable, falling back to runc", "error", mixed)
		}
	case fast != nil:
		return mixed
	default:
		return fault.New(fault.Unavailable, "runtime", "neither crun nor runc is usable",
			fault.WithHint("install the package crun"))
	}

	return nil
}

// Runtime returns the path of a runtime by name or path. Empty means the default.
func (d *Driver) Runtime(nameOrPath string) (string, error) {
	r, err := d.find(nameOrPath)
	if err != nil {
		return "", err
	}
	return r.path, nil
}

func (d *Driver) find(nameOrPath string) (*ociRuntime, error) {
	if nameOrPath == "" {
		return d.standard, nil
	}
	if r := d.known[nameOrPath]; r != nil {
		return r, nil
	}
	if !filepath.IsAbs(nameOrPath) {
		return nil, fault.Invalidf("runtime "+nameOrPath, "runtime",
			"does not exist; use an absolute path or one of: %s",
			strings.Join(slices.Sorted(maps.Keys(d.known)), ", "))
	}
	return d.byPath(nameOrPath)
}

// byPath returns the runtime with a path. It probes a runtime that is not configured on first use.
func (d *Driver) byPath(path string) (*ociRuntime, error) {
	for _, r := range d.known {
		if r.path == path {
			return r, nil
		}
	}

	d.mu.Lock()
	r := d.others[path]
	d.mu.Unlock()
	if r != nil {
		return r, nil
	}

	r, err := newRuntime(context.Background(), path) // bounded by probeTimeout
	if err != nil {
		return nil, unusable(path, err)
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if first := d.others[path]; first != nil {
		return first, nil
	}

	d.others[path] = r
	return r, nil
}

func unusable(name string, err error) error {
	return fault.New(fault.Invalid, "runtime "+name, "is not usable", fault.WithField("runtime"), fault.WithCause(err),
		fault.WithHint("set the path of an OCI runtime"))
}

func newRuntime(ctx context.Context, path string) (*ociRuntime, error) {
	version, err := probe(ctx, path)
	if err != nil {
		return nil, err
	}

	r := &ociRuntime{path: path}
	switch {
	case strings.HasPrefix(version, "crun "):
		r.flavor = crun
	case strings.HasPrefix(version, "runc "):
		r.flavor = runc
	}

	return r, nil
}

// lookPath finds a program in $PATH and in the usual directories.
func lookPath(path, name string) (string, error) {
	if path != "" {
		return path, nil
	}

	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}

	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}

	return "", fmt.Errorf("%s not found in $PATH", name)
}

// probe runs a program with --version and returns its output.
func probe(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(bytes.TrimSpace(out))))
	}
	return string(out), nil
}
