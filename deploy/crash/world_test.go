package crash

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

const (
	registryAddress = "127.0.0.1:5000"
	cacheDir        = "../../.cache"
	pointsVar       = "FL_CRASHPOINTS"
	bystander       = "bystander"
	nftables        = "nftables"

	// agreeLimit is the time limit for all stores and the kernel to agree.
	agreeLimit = 40 * time.Second
	// commandLimit is the time limit of a command.
	commandLimit = 90 * time.Second
)

// world is a host with an agent, two networks, and a container that no fault must affect: the
// bystander.
type world struct {
	*lab.Lab
	t       *testing.T
	ctx     context.Context
	agent   *lab.Agent
	mode    lab.DeployMode
	backend string // of the firewall
	points  string // directory that controls the crash points
	nonce   int
	server  io.Closer
	peers   *peers
	watched string // PID, endpoint and port of the bystander
}

func newWorld(t *testing.T, p plan, mode lab.DeployMode) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), mode: mode, backend: p.backend}
	var err error
	if w.Lab, err = lab.New(w.ctx); err != nil {
		t.Fatal(err)
	}

	w.points = filepath.Join(w.Dir, "points")
	w.must(os.Mkdir(w.points, 0o755))
	w.must(os.Setenv(pointsVar, w.points))
	busybox, err := debimage.Cache{Dir: cacheDir}.Busybox(w.ctx)
	w.must(err)
	r, err := registry.New(map[string]v1.Image{"library/busybox:latest": busybox})
	w.must(err)
	listener, err := w.Host.Listen("tcp", registryAddress)
	w.must(err)
	w.server = r.Serve(listener)
	w.agent, err = w.NewAgent(p.bin, mode, map[string]any{"registry-mirrors": []string{"http://" + registryAddress},
		"firewall-backend": p.backend})
	w.must(err)
	w.must(w.agent.Start(w.ctx))
	w.peers = newPeers(w.agent.ExecRoot())
	setup := []string{
		"network create --subnet 172.28.0.0/24 n1",
		"network create --subnet 172.29.0.0/24 n2",
		"run -d --name " + bystander + " --network n1 -p 8099:80 busybox httpd -f -p 80 -h /etc",
	}
	for _, line := range setup {
		w.mustRun(line)
	}

	if err := w.agree(); err != nil {
		t.Fatalf("before any fault: %v", err)
	}

	return w
}

func (w *world) close() {
	w.peers.close()
	_ = w.server.Close()
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run runs a fairlead command.
func (w *world) run(line string) (string, error) {
	ctx, cancel := context.WithTimeout(w.ctx, commandLimit)
	defer cancel()
	return w.agent.CLI(ctx, strings.Fields(line)...)
}

func (w *world) mustRun(line string) {
	w.t.Helper()
	if out, err := w.run(line); err != nil {
		w.t.Fatalf("%s: %v\n%s\n%s", line, err, out, tail(w.agent.Log()))
	}
}

// processes returns the names of the agent's processes in the files of the crash points.
func (w *world) processes() []string {
	if w.mode == lab.AllInOne {
		return []string{"one"}
	}
	return w.agent.Services()
}

// arm makes a process perform an action when it passes a point.
func (w *world) arm(process, action string, ordinal int) {
	w.nonce++
	for _, p := range w.processes() {
		_ = os.Remove(filepath.Join(w.points, "hit."+p))
	}
	file := filepath.Join(w.points, "armed."+process)
	w.must(os.WriteFile(file+".new", fmt.Appendf(nil, "%d %s %d", w.nonce, action, ordinal), 0o644))
	w.must(os.Rename(file+".new", file))
}

// disarm cancels the action and returns the point where the process performed it, or "".
func (w *world) disarm(process string) string {
	_ = os.Remove(filepath.Join(w.points, "armed."+process))
	hit, _ := os.ReadFile(filepath.Join(w.points, "hit."+process))
	return strings.TrimSpace(string(hit))
}

// traced calls f and returns the points that each process passed meanwhile.
func (w *world) traced(f func()) map[string][]string {
	for _, p := range w.processes() {
		_ = os.Remove(filepath.Join(w.points, "trace."+p))
	}

	w.must(os.WriteFile(filepath.Join(w.points, "trace"), nil, 0o644))
	f()
	w.must(os.Remove(filepath.Join(w.points, "trace")))
	passed := map[string][]string{}
	for _, p := range w.processes() {
		data, _ := os.ReadFile(filepath.Join(w.points, "trace."+p))
		passed[p] = slices.Collect(strings.Lines(string(data)))
	}

	return passed
}

// revive starts a killed process again.
func (w *world) revive(process string) error {
	if process == "one" {
		process = ""
	}
	if err := w.agent.Stop(syscall.SIGKILL, process); err != nil { // it is dead: this only removes it from the lab
		return err
	}
	return w.agent.Start(w.ctx)
}

// tail returns the end of a log, without the reading calls of the checks.
func tail(log string) string {
	reading := func(line string) bool {
		return strings.Contains(line, "/List") && strings.Contains(line, "code=OK")
	}
	lines := slices.DeleteFunc(strings.Split(log, "\n"), reading)
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}
