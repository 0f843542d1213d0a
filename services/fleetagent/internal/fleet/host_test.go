package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

// host is a host of a test.
type host struct {
	*Fleet
	t       testing.TB
	name    string
	address string
	log     *lines
	cancel  context.CancelFunc
	done    chan error
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Times of the hosts of tests. A host on a loaded machine must not lose its lease.
const (
	lease      = 6 * time.Second
	quarantine = 4 * time.Second
)

// newHost starts host number n, with an address of its own and an empty directory.
func newHost(t testing.TB, n int) *host {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skip("needs root to create network namespaces")
	}
	dir := t.TempDir()
	h := &host{t: t, name: fmt.Sprintf("host%d", n), address: fmt.Sprintf("10.7.%d.%d", network(t), n), log: &lines{}}
	h.Fleet = New(Config{Dir: filepath.Join(dir, "fleet"), StoreDir: filepath.Join(dir, "store"),
		ReplicaDir: filepath.Join(dir, "replica"), Quarantine: quarantine, Events: &events.Broker{}, Idle: time.Second,
		StoreProgram: os.Getenv(inNamespace), Ports: Ports{Agent: 7450, StoreClient: 7451, StorePeer: 7452},
		Lease: lease, Now: time.Now, Accept: acceptAll, Log: slog.New(slog.NewTextHandler(h.log, nil))})
	h.start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s\nof its store: %s", h.name, h.log, h.store().Log())
		}
		h.stop()
		if err := h.store().Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// start runs the part of the host, as an agent that starts does.
func (h *host) start() {
	h.t.Helper()
	h.Fleet = New(h.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan error, 1)
	ready := make(chan struct{})
	go func() { h.done <- h.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-h.done:
		h.t.Fatalf("%s: %v", h.name, err)
	case <-time.After(waitLimit):
		h.t.Fatalf("%s is not ready", h.name)
	}
}

// stop ends the run, as an agent that stops does. The store's process goes on.
func (h *host) stop() {
	h.t.Helper()
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.cancel = nil
	if err := <-h.done; err != nil {
		h.t.Errorf("%s: %v", h.name, err)
	}
}

// found creates a fleet on the host and returns the token for the next one.
func (h *host) found() string {
	h.t.Helper()
	_, _, token, err := h.Init(context.Background(), h.address, h.name, nil, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

func (h *host) join(token string) {
	h.t.Helper()
	if _, _, _, err := h.Join(context.Background(), token, h.address, h.name); err != nil {
		h.t.Fatal(err)
	}
}

// token returns a new token of a manager.
func (h *host) token(uses uint32) string {
	h.t.Helper()
	text, _, err := h.IssueToken(context.Background(), time.Hour, uses, token.Member)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// await waits until the host lists hosts with states, such as "host1 alive, host2 suspect".
func (h *host) await(want string) {
	h.t.Helper()
	got, err := "", error(nil)
	if eventually(func() bool {
		got, err = h.listed()
		return err == nil && got == want
	}) {
		return
	}
	h.t.Fatalf("%s lists %q, error %v, want %q", h.name, got, err, want)
}

func (h *host) listed() (string, error) {
	hosts, _, err := h.Hosts(context.Background())
	var all []string
	for _, x := range hosts {
		state := strings.ToLower(strings.TrimPrefix(x.GetState().String(), "HOST_STATE_"))
		all = append(all, x.GetName()+" "+state)
	}
	return strings.Join(all, ", "), err
}
