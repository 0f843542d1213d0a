// Command bench measures the built binaries against other container engines and tools on this
// machine. It prints ratios, which depend on the machine less than times do.
//
// All measurements run in labs and leave nothing behind. The target values are printed next to the
// results; a missed target is no error.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// registryAddress is the address of the registry on the host's loopback.
const registryAddress = "127.0.0.1:5000"

func main() {
	lab.Init()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := measure(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// step is a group of measurements that can be selected by name.
type step struct {
	name string
	take func(context.Context, *table) error
}

func (b *bench) steps() []step {
	return []step{
		{"launches", b.launches}, {"options", b.options}, {"many", b.many}, {"busy", b.busy},
		{"containers", b.containers}, {"restarts", b.restarts}, {"streams", b.streams}, {"files", b.files},
		{"contents", b.contents}, {"engine", b.engineAPI}, {"docker", b.docker}, {"names", b.names},
		{"policy", b.policy}, {"limits", b.limits}, {"refusals", b.refusals}, {"fleet", b.fleet},
		{"hosts", b.manyHosts}, {"services", services},
	}
}

// measure runs the steps named in only, or all if it is empty, and prints the table.
func measure(ctx context.Context, only []string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("bench must run as root, because it creates namespaces and starts containers")
	}

	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	var t table
	for _, s := range b.steps() {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		if err := s.take(ctx, &t); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}

	t.print(os.Stdout)
	load, err := os.ReadFile("/proc/loadavg")
	fmt.Printf("\nLoad of the machine at the end: %s", load)
	return err
}

// bench is a host with an agent, and the peers to compare it with.
type bench struct {
	images *registry.Registry
	lab    *lab.Lab
	agent  *lab.Agent
	undo   []func() error

	fairlead *engine // the agent
	peers    []*engine
}

func newBench(ctx context.Context) (*bench, error) {
	b := &bench{}
	images, busybox, err := stock(ctx)
	if err != nil {
		return nil, err
	}

	b.images = images
	if b.lab, b.agent, err = b.host(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}

	if err := b.findPeers(ctx, busybox); err != nil {
		return nil, errors.Join(err, b.close())
	}

	return b, nil
}

func stock(ctx context.Context) (*registry.Registry, v1.Image, error) {
	cache := debimage.Cache{Dir: ".cache"}
	busybox, err := cache.Busybox(ctx)
	if err != nil {
		return nil, nil, err
	}
	nginx, err := cache.Nginx(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := registry.New(map[string]v1.Image{"library/busybox:latest": busybox, "library/nginx:latest": nginx})
	return r, busybox, err
}

// host creates a host with a registry and an agent, and pulls the images.
func (b *bench) host(ctx context.Context) (*lab.Lab, *lab.Agent, error) {
	l, err := lab.New(ctx)
	if err != nil {
		return nil, nil, err
	}

	b.undo = append(b.undo, l.Close)
	listener, err := l.Host.Listen("tcp", registryAddress)
	if err != nil {
		return nil, nil, err
	}

	b.undo = append(b.undo, b.images.Serve(listener).Close)
	bin, err := filepath.Abs("bin")
	if err != nil {
		return nil, nil, err
	}

	keys := map[string]any{"registry-mirrors": []string{"http://" + registryAddress}, "log-level": "info"}
	a, err := l.NewAgent(bin, lab.AllInOne, keys)
	if err != nil {
		return nil, nil, err
	}

	if err := a.Start(ctx); err != nil {
		return nil, nil, err
	}

	for _, name := range []string{"busybox", "nginx"} {
		if out, err := a.CLI(ctx, "pull", name); err != nil {
			return nil, nil, fmt.Errorf("%w\n%s", err, out)
		}
	}

	return l, a, nil
}

func (b *bench) close() error {
	var errs []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	return errors.Join(errs...)
}
