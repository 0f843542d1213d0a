// Package builder runs BuildKit, which builds images, in a process of its own. It starts the process
// with the first use and ends it some minutes after the last. Package api calls it. What a build reads
// and writes is not its concern: clients connect to the socket of BuildKit. Package buildnet connects
// build steps to the network.
package builder

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/buildnet"
)

// idleTime is the time from the last use of BuildKit until it ends.
const idleTime = 10 * time.Minute

// Config configures a Builder.
type Config struct {
	Program  string // of BuildKit: a name in PATH or a path; empty means buildkitd
	Runtime  string // the OCI runtime of build steps: a name in PATH or a path; empty means runc
	DataRoot string // the directory build has the cache
	ExecRoot string // configuration and sockets
	Plugin   string // the program that connects build steps: see package buildnet
	Log      *slog.Logger
	// Network opens the socket of the network of build steps. The returned function serves it until the
	// context ends.
	Network func(ctx context.Context, socket string) (serve func(), err error)
	// Registries returns the settings of registries.
	Registries func() Registries
	// HostGateways returns the addresses of the name host-gateway.
	HostGateways func(context.Context) ([]string, error)
	// DNS are the servers in resolv.conf of build steps. Empty means those of the host.
	DNS []string

	idle time.Duration // for tests; 0 means idleTime
}

// Registries are the settings of registries.
type Registries struct {
	Mirrors  []string // URLs of mirrors of docker.io
	Insecure []string // hosts without TLS verification; CIDRs are ignored
}

// Builder runs BuildKit. The zero value cannot be used.
type Builder struct {
	cfg      Config
	stopping context.Context // ends when Close is called
	stop     context.CancelFunc

	mu      sync.Mutex
	uses    int
	process *process    // nil if it does not run
	idle    *time.Timer // ends the process; nil while it is used
	period  int         // number of the current or last idle time
}

// New returns a Builder. It starts nothing.
func New(cfg Config) *Builder {
	if cfg.Program == "" {
		cfg.Program = "buildkitd"
	}
	if cfg.Runtime == "" {
		cfg.Runtime = "runc"
	}
	if cfg.idle == 0 {
		cfg.idle = idleTime
	}
	b := &Builder{cfg: cfg}
	b.stopping, b.stop = context.WithCancel(context.Background())
	return b
}

// Use is a use of a running BuildKit.
type Use struct {
	Socket string          // path of its socket
	Ended  <-chan struct{} // closed when the process ends

	release func()
}

// Release ends the use.
func (u *Use) Release() { u.release() }

// Use starts BuildKit if it does not run. With onlyIfUsed it fails with NotFound if there is no build
// cache.
func (b *Builder) Use(ctx context.Context, onlyIfUsed bool) (*Use, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping.Err() != nil {
		return nil, fault.New(fault.Unavailable, "builder", "is stopping")
	}
	if onlyIfUsed && !b.hasCache() {
		return nil, fault.New(fault.NotFound, "builder", "has no cache")
	}

	if b.process != nil && b.process.hasEnded() {
		b.process.network.Wait() // it would release the sandboxes of the next process and remove its socket
		b.process = nil
	}
	if b.process == nil {
		if err := b.start(ctx); err != nil {
			return nil, err
		}
	}
	if b.idle != nil {
		b.idle.Stop()
		b.idle = nil
	}
	b.uses++
	return &Use{Socket: b.socket(), Ended: b.process.ended, release: sync.OnceFunc(b.release)}, nil
}

// release ends a use. The last one starts the idle time.
func (b *Builder) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uses--
	if b.uses == 0 && b.process != nil {
		b.period++
		period := b.period
		b.idle = time.AfterFunc(b.cfg.idle, func() { b.stopIdle(period) })
	}
}

// stopIdle ends BuildKit at the end of an idle time, unless it was used since the start of that time.
func (b *Builder) stopIdle(period int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.idle == nil || b.period != period || b.process == nil {
		return
	}
	b.idle = nil
	b.cfg.Log.Debug("stopping BuildKit, which is idle")
	b.process.stop()
	b.process = nil
}

// Close ends BuildKit, also one that is starting. Builds fail. It releases the networks of build steps, so
// netagent must still be reachable. Idempotent.
func (b *Builder) Close() {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.idle != nil {
		b.idle.Stop()
	}
	if b.process != nil {
		b.process.stop()
		b.process = nil
	}
}

func (b *Builder) root() string { return filepath.Join(b.cfg.DataRoot, "build") }

func (b *Builder) socket() string { return filepath.Join(b.cfg.ExecRoot, "build.sock") }

func (b *Builder) networkSocket() string { return filepath.Join(b.cfg.ExecRoot, "buildnet.sock") }

// hasCache reports whether BuildKit was used before.
func (b *Builder) hasCache() bool {
	_, err := os.Stat(filepath.Join(b.root(), "cache.db"))
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

// programs returns the paths of the programs that a build needs.
func (b *Builder) programs() (program, runtime string, err error) {
	if program, err = exec.LookPath(b.cfg.Program); err != nil {
		return "", "", fault.New(fault.Busy, "builds", "need BuildKit, and "+b.cfg.Program+" was not found",
			fault.WithHint("install buildkitd, or set the key buildkitd to its path"))
	}
	if runtime, err = exec.LookPath(b.cfg.Runtime); err != nil {
		return "", "", fault.New(fault.Busy, "builds", "need runc, and "+b.cfg.Runtime+" was not found",
			fault.WithHint("install the package runc"))
	}
	return program, runtime, nil
}

// start starts BuildKit and waits until it is ready.
func (b *Builder) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.stopping, cancel)()
	program, runtime, err := b.programs()
	if err != nil {
		return err
	}
	config, err := b.prepare(ctx, runtime)
	if err == nil {
		err = b.endSteps(ctx, runtime)
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "builder", "cannot be prepared")
	}
	b.process, err = startProcess(ctx, processConfig{program: program, config: config, socket: b.socket(),
		network: func(ctx context.Context) (func(), error) { return b.cfg.Network(ctx, b.networkSocket()) },
		log:     b.cfg.Log})
	return err
}

// prepare writes the files that BuildKit reads, and returns the path of its configuration.
func (b *Builder) prepare(ctx context.Context, runtime string) (string, error) {
	dir := filepath.Join(b.cfg.ExecRoot, "build")
	plugins := filepath.Join(dir, "cni")
	for _, d := range []string{b.root(), dir, plugins} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", err
		}
	}
	for _, name := range []string{buildnet.NetworkName, buildnet.LoopbackName} {
		at := filepath.Join(plugins, name)
		if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := os.Symlink(b.cfg.Plugin, at); err != nil {
			return "", err
		}
	}

	network := filepath.Join(dir, "network.json")
	if err := os.WriteFile(network, networkConfig(b.networkSocket()), 0o600); err != nil {
		return "", err
	}
	gateway := ""
	if all, err := b.cfg.HostGateways(ctx); err == nil && len(all) > 0 { // without a default network there is none
		gateway = all[0]
	}
	config := filepath.Join(dir, "buildkitd.toml")
	text := settings{Root: b.root(), HostGateway: gateway, Socket: b.socket(), Runtime: runtime, Network: network,
		Plugins:    plugins,
		Registries: b.cfg.Registries(), DNS: b.cfg.DNS}.toml()
	return config, os.WriteFile(config, []byte(text), 0o600)
}

// lastLines returns the end of a log for an error.
func lastLines(lines []string) string {
	const shown = 3
	return strings.Join(lines[max(0, len(lines)-shown):], "; ")
}
