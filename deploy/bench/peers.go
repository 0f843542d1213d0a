package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// baseline is a command that runs a container until it exits.
type baseline struct {
	name string
	run  func(ctx context.Context) error
}

// findPeers adds the installed container engines, each on a separate host.
func (b *bench) findPeers(ctx context.Context, busybox v1.Image) error {
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
	docker := func(ctx context.Context, args ...string) error {
		_, err := l.Host.Output(ctx, "docker", append([]string{"-H", host}, args...)...)
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if err = docker(ctx, "info"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
	}

	if err := docker(ctx, "import", file, "busybox"); err != nil {
		return err
	}

	b.peers = append(b.peers, baseline{"docker run --rm busybox true", func(ctx context.Context) error {
		return docker(ctx, "run", "--rm", "busybox", "true")
	}})
	return nil
}

func (b *bench) addPodman(ctx context.Context, busybox v1.Image) error {
	l, file, err := b.peerHost(ctx, busybox)
	if err != nil {
		return err
	}

	podman := func(ctx context.Context, args ...string) error {
		global := []string{"--root", l.Dir + "/data", "--runroot", l.Dir + "/exec", "--tmpdir", l.Dir + "/tmp",
			"--cgroup-manager", "cgroupfs", "--events-backend", "none"}
		_, err := l.Host.Output(ctx, "podman", append(global, args...)...)
		return err
	}
	if err := podman(ctx, "import", file, "localhost/busybox"); err != nil {
		return err
	}

	b.peers = append(b.peers, baseline{"podman run --rm busybox true", func(ctx context.Context) error {
		return podman(ctx, "run", "--rm", "localhost/busybox", "true")
	}})
	return nil
}
