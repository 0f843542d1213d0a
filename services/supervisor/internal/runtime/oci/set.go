// Package oci finds the programs of OCI runtimes, crun, runc and those of the configuration, and
// knows how they differ: their messages, crun's copy of itself and its compiled seccomp filters. It
// runs no container: package runtime does, and calls it.
package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
)

// Flavor identifies runtimes with known behavior beyond the OCI command line.
type Flavor int

// The flavors.
const (
	Other Flavor = iota
	Crun
	Runc
)

// Program is the program of an OCI runtime. It is safe for concurrent use.
type Program struct {
	Path   string
	Flavor Flavor

	mu     sync.Mutex
	sealed *os.File // a sealed copy in memory; nil if it does not exist
	source unix.Stat_t
}

// Config configures a Set.
type Config struct {
	Programs map[string]string // additional runtimes: name to path
	Default  string            // name or path; empty means crun, or runc if crun is not usable
	Cgroup   cgroup.Layout
	Log      *slog.Logger
}

// Set holds the OCI runtimes of a host. It is safe for concurrent use.
type Set struct {
	cfg      Config
	known    map[string]*Program // by name
	standard *Program

	mu     sync.Mutex
	others map[string]*Program // by path, as given by users
}

// probeTimeout limits the version request to a program.
const probeTimeout = 20 * time.Second

// Find finds and probes crun, runc and the configured runtimes, and selects the default.
func Find(ctx context.Context, cfg Config) (*Set, error) {
	s := &Set{cfg: cfg, known: map[string]*Program{}, others: map[string]*Program{}}
	for _, name := range []string{"crun", "runc"} {
		if path, err := LookPath("", name); err == nil && cfg.Programs[name] == "" {
			if r, err := newProgram(ctx, path); err == nil {
				s.known[name] = r
			}
		}
	}

	for name, path := range cfg.Programs {
		r, err := newProgram(ctx, path)
		if err != nil {
			return nil, unusable(name, err)
		}
		s.known[name] = r
	}

	if cfg.Default == "" {
		return s, s.choose()
	}
	var err error
	s.standard, err = s.ByName(cfg.Default)
	return s, err
}

// choose selects crun, the faster one, unless it does not support the host's cgroup layout.
func (s *Set) choose() error {
	mixed := s.cfg.Cgroup.CheckCrun()
	fast, slow := s.known["crun"], s.known["runc"]
	switch {
	case fast != nil && mixed == nil:
		s.standard = fast
	case slow != nil:
		s.standard = slow
		if mixed != nil && fast != nil {
			s.cfg.Log.Warn("crun unusable, falling back to runc", "error", mixed)
		}
	case fast != nil:
		return mixed
	default:
		return fault.New(fault.Unavailable, "runtime", "neither crun nor runc is usable",
			fault.WithHint("install the package crun"))
	}

	return nil
}

// Close removes the copies of programs in memory.
func (s *Set) Close() {
	for _, r := range s.known {
		r.close()
	}
	for _, r := range s.others {
		r.close()
	}
}

// Default returns the default runtime.
func (s *Set) Default() *Program { return s.standard }

// ByName returns a runtime by name or path. Empty means the default.
func (s *Set) ByName(nameOrPath string) (*Program, error) {
	if nameOrPath == "" {
		return s.standard, nil
	}
	if r := s.known[nameOrPath]; r != nil {
		return r, nil
	}
	if !filepath.IsAbs(nameOrPath) {
		return nil, fault.Invalidf("runtime "+nameOrPath, "runtime",
			"does not exist; use an absolute path or one of: %s",
			strings.Join(slices.Sorted(maps.Keys(s.known)), ", "))
	}
	return s.ByPath(nameOrPath)
}

// ByPath returns the runtime with a path. It probes a runtime that is not configured on first use.
func (s *Set) ByPath(path string) (*Program, error) {
	for _, r := range s.known {
		if r.Path == path {
			return r, nil
		}
	}

	s.mu.Lock()
	r := s.others[path]
	s.mu.Unlock()
	if r != nil {
		return r, nil
	}

	r, err := newProgram(context.Background(), path) // bounded by probeTimeout
	if err != nil {
		return nil, unusable(path, err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.others[path]; first != nil {
		return first, nil
	}

	s.others[path] = r
	return r, nil
}

func unusable(name string, err error) error {
	return fault.New(fault.Invalid, "runtime "+name, "is not usable", fault.WithField("runtime"), fault.WithCause(err),
		fault.WithHint("set the path of an OCI runtime"))
}

func newProgram(ctx context.Context, path string) (*Program, error) {
	version, err := Probe(ctx, path)
	if err != nil {
		return nil, err
	}

	r := &Program{Path: path}
	switch {
	case strings.HasPrefix(version, "crun "):
		r.Flavor = Crun
	case strings.HasPrefix(version, "runc "):
		r.Flavor = Runc
	}

	return r, nil
}

// LookPath finds a program in $PATH and in the usual directories.
func LookPath(path, name string) (string, error) {
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

// Probe runs a program with --version and returns its output.
func Probe(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(bytes.TrimSpace(out))))
	}
	return string(out), nil
}
