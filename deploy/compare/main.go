// Command compare runs one script of docker commands against Debian's dockerd and against Fairlead,
// each on a host of its own, and compares output and exit codes line by line. A difference that the
// script does not explain is an error, and so is an explanation without a difference.
//
// Both engines get the same command line, Debian's, and the same images, from a registry on the
// loopback of each host.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// cacheDir contains Debian packages and the images built from them.
const cacheDir = ".cache"

// registryAddress is the address of the registry on the loopback of each host.
const registryAddress = "127.0.0.1:5000"

func main() {
	lab.Init()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// run compares the engines with the script in the first argument.
func run(ctx context.Context, args []string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("compare must run as root, because it creates namespaces and starts containers")
	}
	if len(args) != 1 {
		return errors.New("usage: compare SCRIPT")
	}

	s, err := readScript(args[0])
	if err != nil {
		return err
	}

	cache := debimage.Cache{Dir: cacheDir}
	programs, err := cache.Programs(ctx, "docker.io", "containerd", "runc", "tini")
	if err != nil {
		return err
	}

	images, err := stock(ctx, cache)
	if err != nil {
		return err
	}

	docker, err := newEngine(ctx, programs, images)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.lab.Close()) }()
	fairlead, err := newEngine(ctx, programs, images)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fairlead.lab.Close()) }()

	if err := errors.Join(docker.startDocker(ctx), fairlead.startFairlead(ctx)); err != nil {
		return err
	}

	return compare(ctx, s, docker, fairlead)
}

// stock returns a registry with the images of the script.
func stock(ctx context.Context, cache debimage.Cache) (*registry.Registry, error) {
	busybox, err := cache.Busybox(ctx)
	if err != nil {
		return nil, err
	}
	nginx, err := cache.Nginx(ctx)
	if err != nil {
		return nil, err
	}
	return registry.New(map[string]v1.Image{"library/busybox:latest": busybox, "library/nginx:latest": nginx,
		"library/nginx:1": nginx})
}

// engine is a host with a Docker daemon or with Fairlead.
type engine struct {
	lab   *lab.Lab
	agent *lab.Agent
	dir   string // working directory of the commands
}

func newEngine(ctx context.Context, programs string, images *registry.Registry) (*engine, error) {
	l, err := lab.New(ctx)
	if err != nil {
		return nil, err
	}

	e := &engine{lab: l, dir: filepath.Join(l.Dir, "work")}
	listener, err := l.Host.Listen("tcp", registryAddress)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	images.Serve(listener)

	if err := errors.Join(l.LayOver(ctx, programs), os.Mkdir(e.dir, 0o755)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return e, nil
}

// socket returns the address of the Engine API.
func (e *engine) socket() string { return "unix://" + e.lab.Dir + "/docker.sock" }

func (e *engine) startDocker(ctx context.Context) error {
	daemon := exec.Command("dockerd", "--data-root", e.lab.Dir+"/data", "--exec-root", "/run/dk", "--pidfile",
		"/run/docker.pid", "-H", e.socket(), "--storage-driver", "vfs", "--registry-mirror", "http://"+registryAddress)
	log, err := os.Create(filepath.Join(e.lab.Dir, "dockerd.log"))
	if err != nil {
		return err
	}

	daemon.Stdout, daemon.Stderr = log, log
	if err := errors.Join(e.lab.Host.Start(daemon), log.Close()); err != nil {
		return err
	}
	go func() { _ = daemon.Wait() }()
	return e.ready(ctx)
}

func (e *engine) startFairlead(ctx context.Context) error {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}

	e.agent, err = e.lab.NewAgent(bin, lab.AllInOne, map[string]any{
		"registry-mirrors": []string{"http://" + registryAddress}, "docker-hosts": []string{e.socket()},
		"bridge": "docker0",
	})
	if err != nil {
		return err
	}
	return errors.Join(e.agent.Start(ctx), e.ready(ctx))
}

// ready waits until the engine serves.
func (e *engine) ready(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out := e.do(ctx, "docker version >/dev/null")
		if out.status == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not serve: %s", e.socket(), out.text)
		}
	}
}
