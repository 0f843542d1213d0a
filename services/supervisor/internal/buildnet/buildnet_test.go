package buildnet_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/buildnet"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// fakeSandboxes records sandboxes.
type fakeSandboxes struct {
	mu       sync.Mutex
	networks map[string]int // number of attachments by owner
	fail     error          // of sandboxes with a network
}

func (f *fakeSandboxes) CreateSandbox(_ context.Context, uid, _ string, n *container.Network) (agents.Sandbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil && len(n.Attachments) > 0 {
		return agents.Sandbox{}, f.fail
	}
	f.networks[uid] = len(n.Attachments)
	return agents.Sandbox{NetnsPath: "/no/such/namespace"}, nil
}

func (f *fakeSandboxes) ReleaseSandbox(_ context.Context, uid string, _ agents.Kept) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.networks, uid)
	return nil
}

func (f *fakeSandboxes) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.networks)
}

// call calls the plugin.
func call(program, command, stdin string) (status int, out string) {
	var b bytes.Buffer
	env := map[string]string{"CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/no/such/mount"}
	status = buildnet.Call{Program: program, Env: func(k string) string { return env[k] },
		Stdin:  strings.NewReader(stdin),
		Stdout: &b}.Run()
	return status, strings.TrimSpace(b.String())
}

func TestPluginAnswersWithoutNetwork(t *testing.T) {
	for _, c := range []struct{ program, command, stdin, want string }{
		{"/x/loopback", "ADD", `{"cniVersion":"0.3.1"}`,
			`{"cniVersion":"0.3.1","interfaces":[{"name":"lo","sandbox":"/no/such/mount"}]}`},
		{"/x/fairlead-build", "VERSION", `{"cniVersion":"1.0.0"}`,
			`{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}`},
		{"/x/fairlead-build", "CHECK", `{"cniVersion":"1.0.0"}`, `{"cniVersion":"1.0.0"}`},
	} {
		if status, out := call(c.program, c.command, c.stdin); status != 0 || out != c.want {
			t.Errorf("%s %s: got %d, %s", c.program, c.command, status, out)
		}
	}
	if status, out := call("/x/fairlead-build", "ADD", "no JSON"); status != 1 || !strings.Contains(out, `"code":100`) {
		t.Errorf("got %d, %s", status, out)
	}
}

func TestProgramIsAPluginByItsName(t *testing.T) {
	env := func(string) string { return "ADD" }
	none := func(string) string { return "" }
	for _, c := range []struct {
		program string
		env     func(string) string
		want    bool
	}{
		{"/run/cni/fairlead-build", env, true}, {"/run/cni/loopback", env, true}, {"fairlead-agent", env, false},
		{"/run/cni/loopback", none, false},
	} {
		if got := (buildnet.Call{Program: c.program, Env: c.env}).IsPlugin(); got != c.want {
			t.Errorf("%s: got %v", c.program, got)
		}
	}
}

func TestSandboxOfAStep(t *testing.T) {
	f := &fakeSandboxes{networks: map[string]int{}}
	n := buildnet.New(f, slog.New(slog.DiscardHandler))
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	serve, err := n.Listen(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); serve() }()
	stdin := `{"cniVersion":"1.0.0","socket":"` + socket + `"}`

	// The namespace cannot be mounted here, so the sandbox is released again.
	if status, out := call("fairlead-build", "ADD", stdin); status != 1 || f.count() != 0 ||
		!strings.Contains(out, "/no/such/mount") {
		t.Errorf("got %d, %s and %d sandboxes", status, out, f.count())
	}
	if status, out := call("fairlead-build", "DEL", stdin); status != 0 {
		t.Errorf("got %d, %s", status, out)
	}
	f.fail = errors.New("no address is free")
	if status, out := call("fairlead-build", "ADD", stdin); status != 1 || !strings.Contains(out,
		"no address is free") {
		t.Errorf("got %d, %s", status, out)
	}
	f.fail = fault.New(fault.NotFound, "network", "is disabled")
	if _, out := call("fairlead-build", "ADD", stdin); !strings.Contains(out, "/no/such/mount") {
		t.Errorf("got %s, want a namespace without a network", out)
	}
	cancel()
	<-done
	if status, _ := call("fairlead-build", "ADD", stdin); status != 1 {
		t.Error("got a network after the end")
	}
}
