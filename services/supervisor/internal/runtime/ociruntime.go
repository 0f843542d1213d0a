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

// flavour is what a runtime is known to do beyond the OCI's command line.
type flavour int

const (
	other flavour = iota
	crun
	runc
)

// ociRuntime is a runtime's program.
type ociRuntime struct {
	path    string
	flavour flavour

	mu     sync.Mutex
	sealed *os.File // a sealed copy in memory; nil if there is none
	source unix.Stat_t
}

// probeTimeout bounds the first call of a program.
const probeTimeout = 20 * time.Second

// findConmon looks for conmon and tries it.
func (d *Driver) findConmon(ctx context.Context) error {
	path, err := lookPath(d.cfg.Conmon, "conmon")
	if err == nil {
		_, err = probe(ctx, path)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "conmon", "it cannot be used", fault.WithCause(err), fault.WithHint("install the package conmon"))
	}
	d.conmon = path
	return nil
}

// findRuntimes looks for crun, runc and the configured ones, and decides on the default.
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

// choose takes crun, as it is the faster one, unless it cannot work with the host's cgroups.
func (d *Driver) choose() error {
	mixed := d.cfg.Cgroup.CheckCrun()
	fast, slow := d.known["crun"], d.known["runc"]
	switch {
	case fast != nil && mixed == nil:
		d.standard = fast
	case slow != nil:
		d.standard = slow
		if mixed != nil && fast != nil {
			d.cfg.Log.Warn("runc is used, as crun cannot be", "error", mixed)
		}
	case fast != nil:
		return mixed
	default:
		return fault.New(fault.Unavailable, "runtime", "neither crun nor runc can be used", fault.WithHint("install the package crun"))
	}
	return nil
}

// Runtime gives the path of a runtime by its name or path; the default one's for "".
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
		return nil, fault.Invalidf("runtime "+nameOrPath, "runtime", "there is no such runtime; known are %s, and any absolute path",
			strings.Join(slices.Sorted(maps.Keys(d.known)), ", "))
	}
	return d.byPath(nameOrPath)
}

// byPath tries a runtime that is not configured the first time that it is asked for.
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
	return fault.New(fault.Invalid, "runtime "+name, "it cannot be used", fault.WithField("runtime"), fault.WithCause(err),
		fault.WithHint("give an OCI runtime's path"))
}

func newRuntime(ctx context.Context, path string) (*ociRuntime, error) {
	version, err := probe(ctx, path)
	if err != nil {
		return nil, err
	}
	r := &ociRuntime{path: path}
	switch {
	case strings.HasPrefix(version, "crun "):
		r.flavour = crun
	case strings.HasPrefix(version, "runc "):
		r.flavour = runc
	}
	return r, nil
}

// lookPath finds a program in $PATH and where root's programs are.
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
	return "", fmt.Errorf("there is no %s in $PATH", name)
}

// probe runs a program for its version.
func probe(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(bytes.TrimSpace(out))))
	}
	return string(out), nil
}
