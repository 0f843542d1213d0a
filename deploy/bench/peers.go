package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// engine is a container engine on a host of its own.
type engine struct {
	name    string
	host    *lab.Lab
	program string
	global  []string // options before the command
	image   string   // its name of busybox
	helpers []string // its processes besides its client, as in /proc/PID/comm
}

// command returns a command of its client. Host.Run runs it.
func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, e.program, append(slices.Clone(e.global), args...)...)
}

// run runs a command of its client and returns the output.
func (e *engine) run(ctx context.Context, args ...string) (string, error) {
	return e.host.Host.Output(ctx, e.program, append(slices.Clone(e.global), args...)...)
}

// findPeers adds the installed container engines, each on a separate host.
func (b *bench) findPeers(ctx context.Context, busybox v1.Image) error {
	b.fairlead = &engine{name: "fairlead", host: b.lab, program: b.agent.Program(),
		global: []string{"-H", b.agent.Socket()}, image: "busybox", helpers: []string{"fairlead-agent", "conmon"}}
	if installed("dockerd", "docker", "containerd") {
		if err := b.addDocker(ctx, busybox); err != nil {
			return fmt.Errorf("docker: %w", err)
		}
	}
	if installed("podman") {
		if err := b.addPodman(ctx, busybox); err != nil {
			return fmt.Errorf("podman: %w", err)
		}
	}
	return nil
}

func installed(names ...string) bool {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return false
		}
	}
	return true
}

// peerHost creates a host for a peer and returns the path of an archive with the rootfs of busybox.
func (b *bench) peerHost(ctx context.Context, busybox v1.Image) (*lab.Lab, string, error) {
	l, err := lab.New(ctx)
	if err != nil {
		return nil, "", err
	}

	b.undo = append(b.undo, l.Close)
	file := filepath.Join(l.Dir, "busybox.tar")
	f, err := os.Create(file)
	if err != nil {
		return nil, "", err
	}

	stream := mutate.Extract(busybox)
	_, err = io.Copy(f, stream)
	if err := errors.Join(err, stream.Close(), f.Close()); err != nil {
		return nil, "", err
	}

	return l, file, nil
}

func (b *bench) addDocker(ctx context.Context, busybox v1.Image) error {
	l, file, err := b.peerHost(ctx, busybox)
	if err != nil {
		return err
	}

	host := "unix://" + l.Dir + "/docker.sock"
	daemon := exec.Command("dockerd", "--data-root", l.Dir+"/data", "--exec-root", l.Dir+"/exec",
		"--pidfile", l.Dir+"/pid", "-H", host)
	if err := l.Host.Start(daemon); err != nil {
		return err
	}

	go func() { _ = daemon.Wait() }()
	docker := &engine{name: "docker", host: l, program: "docker", global: []string{"-H", host}, image: "busybox",
		helpers: []string{"dockerd", "containerd", "containerd-shim"}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err = docker.run(ctx, "info"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
	}

	if _, err := docker.run(ctx, "import", file, docker.image); err != nil {
		return err
	}

	b.peers = append(b.peers, docker)
	return nil
}

func (b *bench) addPodman(ctx context.Context, busybox v1.Image) error {
	l, file, err := b.peerHost(ctx, busybox)
	if err != nil {
		return err
	}

	podman := &engine{name: "podman", host: l, program: "podman", image: "localhost/busybox",
		helpers: []string{"conmon"},
		global: []string{"--root", l.Dir + "/data", "--runroot", l.Dir + "/exec", "--tmpdir", l.Dir + "/tmp",
			"--cgroup-manager", "cgroupfs", "--events-backend", "none"}}
	if _, err := podman.run(ctx, "import", file, podman.image); err != nil {
		return err
	}

	b.peers = append(b.peers, podman)
	return nil
}
