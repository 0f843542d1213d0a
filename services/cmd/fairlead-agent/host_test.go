package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/faultrpc"
)

const (
	asAgent = "TEST_AS_AGENT" // set in processes that run as the agent
	timeout = 60 * time.Second
)

// host is a network namespace with directories, in which agents run.
type host struct {
	t         *testing.T
	ctx       context.Context
	ns        *testns.NS
	dir       string
	processes []*agentProcess
}

func newHost(t *testing.T) *host {
	t.Helper()
	for _, program := range []string{"crun", "conmon", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("needs %s", program)
			}
			t.Skipf("needs %s", program)
		}
	}

	dir, err := os.MkdirTemp("", "fairlead") // shorter than t.TempDir, as socket paths are limited
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	h := &host{t: t, ctx: ctx, ns: testns.New(t), dir: dir}
	t.Cleanup(func() {
		for _, p := range h.processes {
			if p.cmd.ProcessState == nil {
				_ = p.cmd.Process.Kill()
				_ = p.cmd.Wait()
			}
			if t.Failed() {
				t.Logf("log of %s:\n%s", p.name, p.log.String())
			}
		}
		cancel()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) arguments(service string) []string {
	args := []string{"--data-root", h.dir + "/d", "--exec-root", h.dir + "/x", "--config-file", h.emptyFile(), "--bip",
		"172.31.9.1/24", "--debug"}
	if service != "" {
		args = append([]string{service}, args...)
	}
	return args
}

func (h *host) emptyFile() string {
	h.t.Helper()
	path := filepath.Join(h.dir, "empty.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *host) command(args ...string) *exec.Cmd {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.ns.Command(h.ctx, self, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "FAIRLEAD_") }),
		asAgent+"=1")
	return cmd
}

// run runs an agent that must exit by itself.
func (h *host) run(args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	cmd := h.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			h.t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// agentProcess is a running agent.
type agentProcess struct {
	h      *host
	name   string
	cmd    *exec.Cmd
	log    *output
	notify *net.UnixConn
}

// start starts an agent with one service, or with all if service is empty.
func (h *host) start(service string) *agentProcess {
	h.t.Helper()
	path := filepath.Join(h.dir, "notify-"+service)
	_ = os.Remove(path) // left by a killed agent
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		h.t.Fatal(err)
	}

	h.t.Cleanup(func() { _ = notify.Close() })
	p := &agentProcess{h: h, name: "agent " + service, cmd: h.command(h.arguments(service)...), log: new(output),
		notify: notify}
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+path)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}

	h.processes = append(h.processes, p)
	return p
}

func (p *agentProcess) awaitReady() {
	p.h.t.Helper()
	p.mustNotify("READY=1")
}

func (p *agentProcess) mustNotify(want string) {
	p.h.t.Helper()
	if err := p.notify.SetReadDeadline(time.Now().Add(timeout / 2)); err != nil {
		p.h.t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := p.notify.Read(b)
	if err != nil || string(b[:n]) != want {
		p.h.t.Fatalf("%s: got notification %q, error %v, want %s", p.name, b[:n], err, want)
	}
}

// stop sends a signal, after which the agent must exit with status 0.
func (p *agentProcess) stop(s syscall.Signal) {
	p.h.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.h.t.Fatal(err)
	}
	p.mustNotify("STOPPING=1")
	if err := p.cmd.Wait(); err != nil {
		p.h.t.Errorf("%s: %v", p.name, err)
	}
}

func (h *host) dial(socket string) *grpc.ClientConn {
	h.t.Helper()
	conn, err := grpc.NewClient("unix://"+h.dir+"/x/"+socket+".sock",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithChainUnaryInterceptor(faultrpc.UnaryClient), grpc.WithChainStreamInterceptor(faultrpc.StreamClient))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// output holds the output of a process. Tests can read it while the process runs.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
