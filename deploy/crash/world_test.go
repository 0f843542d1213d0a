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

	// settle is how long everything may take to agree again when nothing else happens.
	settle = 40 * time.Second
	// commandLimit is how long a command may take.
	commandLimit = 90 * time.Second
)

// world is a host with an agent, two networks, and a bystander whom no fault may touch.
type world struct {
	*lab.Lab
	t      *testing.T
	ctx    context.Context
	agent  *lab.Agent
	shape  lab.DeployMode
	points string // the directory of orders to the crash points
	nonce  int
	server io.Closer
	peers  *peers
	beside string // the bystander's state
}

func newWorld(t *testing.T, bin string, shape lab.DeployMode) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), shape: shape}
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
	w.agent, err = w.NewAgent(bin, shape, map[string]any{"registry-mirrors": []string{"http://" + registryAddress}})
	w.must(err)
	w.must(w.agent.Start(w.ctx))
	w.peers = newPeers(w.agent.ExecRoot())
	for _, line := range []string{"network create --subnet 172.28.0.0/24 n1", "network create --subnet 172.29.0.0/24 n2",
		"run -d --name beside --network n1 -p 8099:80 busybox httpd -f -p 80 -h /etc"} {
		w.mustRun(line)
	}
	if err := w.agree(); err != nil {
		t.Fatalf("at first: %v", err)
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

// run runs a command of the command line.
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

// processes are the names that the agent's processes have among the crash points.
func (w *world) processes() []string {
	if w.shape == lab.AllInOne {
		return []string{"one"}
	}
	return w.agent.Services()
}

// arm orders a process to act at a point.
func (w *world) arm(process, action string, ordinal int) {
	w.nonce++
	for _, p := range w.processes() {
		_ = os.Remove(filepath.Join(w.points, "hit."+p))
	}
	file := filepath.Join(w.points, "armed."+process)
	w.must(os.WriteFile(file+".new", fmt.Appendf(nil, "%d %s %d", w.nonce, action, ordinal), 0o644))
	w.must(os.Rename(file+".new", file))
}

// disarm takes the order back, and tells where the process has acted; empty if it has not.
func (w *world) disarm(process string) string {
	_ = os.Remove(filepath.Join(w.points, "armed."+process))
	hit, _ := os.ReadFile(filepath.Join(w.points, "hit."+process))
	return strings.TrimSpace(string(hit))
}

// traced runs something and returns the points that each process passes.
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

// revive starts the processes that have died.
func (w *world) revive(process string) error {
	if process == "one" {
		process = ""
	}
	if err := w.agent.Stop(syscall.SIGKILL, process); err != nil { // it is dead: this only forgets it
		return err
	}
	return w.agent.Start(w.ctx)
}

func tail(log string) string {
	lines := strings.Split(log, "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}
