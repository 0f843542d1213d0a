// Package lab creates hosts and clients from namespaces: a host with its own network, mounts and
// processes, and a client that is connected to it. The network and the mounts of the machine are
// not changed. The demo, the end-to-end scripts and the benchmarks use it.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Addresses at both ends of the link.
const (
	HostIPv4   = "192.168.8.115"
	HostIPv6   = "fd00:8::115"
	ClientIPv4 = "192.168.8.2"
	ClientIPv6 = "fd00:8::2"
)

// Name files of the host. The name server does not exist, so queries fail immediately.
const (
	nameServer = "192.168.8.53"
	hostsFile  = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n" + HostIPv4 + "\tlab-host\n"
	resolvFile = "nameserver " + nameServer + "\nsearch lab.test\n"
)

// Lab is a host and a client.
type Lab struct {
	Dir    string // all files, removed by Close; a short path, for sockets
	Host   *Machine
	Client *Machine

	init  *exec.Cmd
	input io.WriteCloser
}

// New creates a lab. The program must call Init first in main.
func New(ctx context.Context) (*Lab, error) {
	dir, err := os.MkdirTemp("", "fl")
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir}
	err = errors.Join(l.writeFiles(), l.boot(ctx))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) writeFiles() error {
	etc := filepath.Join(l.Dir, "etc")
	return errors.Join(
		os.Chmod(l.Dir, 0o755),
		os.Mkdir(etc, 0o755),
		os.WriteFile(filepath.Join(etc, "hosts"), []byte(hostsFile), 0o644),
		os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte(resolvFile), 0o644))
}

// boot starts the host's init process and creates the link.
func (l *Lab) boot(ctx context.Context) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageVar+"="+l.Dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true,
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}

	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}

	l.init, l.input = cmd, input
	if word, err := io.ReadAll(io.LimitReader(output, int64(len("ready\n")))); err != nil || string(word) != "ready\n" {
		return errors.New("the host machine did not start")
	}

	if l.Host, err = ofProcess(cmd.Process.Pid); err != nil {
		return err
	}

	if l.Client, err = newClient(); err != nil {
		return err
	}

	return l.connect(ctx)
}

// connect creates the link between host and client. It enters only network namespaces, because
// their names are paths of the machine.
func (l *Lab) connect(ctx context.Context) error {
	host := &Machine{net: l.Host.net}
	steps := []struct {
		on   *Machine
		args string
	}{
		{host, "link add eth0 type veth peer name eth0 netns " + l.Client.Path()},
		{host, "addr add " + HostIPv4 + "/24 dev eth0"},
		{host, "addr add " + HostIPv6 + "/64 dev eth0 nodad"},
		{host, "link set eth0 up"},
		{host, "route add unreachable " + nameServer},
		{l.Client, "link set lo up"},
		{l.Client, "addr add " + ClientIPv4 + "/24 dev eth0"},
		{l.Client, "addr add " + ClientIPv6 + "/64 dev eth0 nodad"},
		{l.Client, "link set eth0 up"},
	}
	for _, s := range steps {
		if _, err := s.on.Output(ctx, "ip", strings.Fields(s.args)...); err != nil {
			return err
		}
	}

	return nil
}

// Pid returns the process ID of the host's init process on the machine.
func (l *Lab) Pid() int { return l.init.Process.Pid }

// Reboot resets the host: its processes, namespaces, links, rules, mounts and the agent's exec-root
// are removed immediately. Other files in Dir are kept, as on a disk. A new host and a new client
// start.
func (l *Lab) Reboot(ctx context.Context) error {
	if _, err := io.WriteString(l.input, keep+"\n"); err != nil {
		return err
	}
	return errors.Join(l.powerOff(), l.boot(ctx))
}

// Close kills every process of the host and removes everything.
func (l *Lab) Close() error {
	return errors.Join(l.powerOff(), os.RemoveAll(l.Dir))
}

func (l *Lab) powerOff() error {
	var err error
	if l.init != nil {
		_ = l.input.Close()
		timer := time.AfterFunc(30*time.Second, func() { _ = l.init.Process.Kill() })
		err = l.init.Wait()
		timer.Stop()
		l.init = nil
	}

	for _, m := range []*Machine{l.Host, l.Client} {
		if m != nil {
			m.close()
		}
	}

	l.Host, l.Client = nil, nil
	return err
}

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
