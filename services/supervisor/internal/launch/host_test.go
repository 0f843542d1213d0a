package launch_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/image"
	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	rules "github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
	"github.com/fairlead/fairlead/services/supervisor/internal/volumes"
)

// host fakes the services and the runtime that a Launcher uses. It records requests and what they hold.
type host struct {
	*launch.Launcher
	dir     string
	image   *store.Image
	spec    *specs.Spec // of the last created process
	started []string    // containers that Config.Started was called with

	mu      sync.Mutex
	did     []string // requests, and "after REQUEST" at their end
	held    []string
	fail    string            // the request that fails
	late    bool              // it has its effect, only the response is lost
	down    bool              // all later requests fail too
	failed  bool              // the failure has happened
	onBegin func(name string) // called at the begin of each request; may be nil
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: t.TempDir(), image: &store.Image{ID: "sha256:00", Tags: []string{"busybox:latest"},
		Config: []byte(`{"config":{"Volumes":{"/anonymous":{}}}}`)}}
	s, err := store.Open(filepath.Join(h.dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.AddImages(h.image); err != nil {
		t.Fatal(err)
	}
	log, broker := slog.New(slog.DiscardHandler), &events.Broker{}
	a := agents.New(agents.Config{Networks: networks{}, Sandboxes: sandboxes{h: h}, Publications: publications{h: h},
		Policies: policies{h: h}, Names: registrations{h: h}})
	h.Launcher = launch.New(launch.Config{DataRoot: h.dir, Log: log, Store: s, Images: images{h}, RootFS: rootFS{h},
		Volumes:   volumes.New(volumes.Config{DataRoot: h.dir, Store: s, Events: broker, Log: log}),
		Processes: processes{h}, Agents: a, Lives: lives.New(), Names: lives.NewNames(), Joins: lives.NewJoins(),
		Policies: rules.New(rules.Config{Log: log, Store: s, Agents: a}),
		Notices:  notices.New(notices.Config{Events: broker, Store: s, Agents: a, Log: log}),
		Waiters:  &launch.Waiters{},
		Started:  func(c *container.Container, _ *lives.Run) { h.started = append(h.started, c.ID) }})
	return h
}

// request performs a request that holds a resource, or fails it.
func (h *host) request(name, resource string) error {
	return h.perform(name, func() {
		if !slices.Contains(h.held, resource) {
			h.held = append(h.held, resource)
		}
	})
}

// release performs a request that releases resources.
func (h *host) release(name string, resources ...string) error {
	return h.perform(name, func() {
		h.held = slices.DeleteFunc(h.held, func(r string) bool { return slices.Contains(resources, r) })
	})
}

func (h *host) perform(name string, effect func()) error {
	h.mu.Lock()
	begin := h.onBegin
	h.did = append(h.did, name)
	h.mu.Unlock()
	if begin != nil {
		begin(name)
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	h.did = append(h.did, "after "+name)
	fails := h.fail == name && !h.failed || h.down && h.failed
	if !fails || h.late {
		effect()
	}
	if !fails {
		return nil
	}
	h.failed = true
	return fault.New(fault.Unavailable, name, "fails in this test")
}

// set changes fields while the fakes are in use.
func (h *host) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *host) wantHeld(t *testing.T, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.held)
	if !slices.Equal(h.held, want) {
		t.Errorf("got %q held, want %q", h.held, want)
	}
}

type images struct{ h *host }

func (f images) Resolve(string, string) (*store.Image, error) { return f.h.image, nil }
func (f images) Pull(context.Context, image.PullRequest) (*store.Image, error) {
	return nil, errors.New("not needed")
}
func (f images) LayerPaths(*store.Image) []string { return nil }

type rootFS struct{ h *host }

func (f rootFS) Mount(_ context.Context, uid string, _ []string) (string, error) {
	dir := filepath.Join(f.h.dir, "rootfs-"+uid)
	return dir, errors.Join(os.MkdirAll(dir, 0o755), f.h.request("mount rootfs", "rootfs"))
}
func (f rootFS) Unmount(string) error                             { return f.h.release("unmount rootfs", "rootfs") }
func (f rootFS) Remove(string) error                              { return f.h.release("remove rootfs", "rootfs") }
func (f rootFS) Mounted() ([]string, error)                       { return nil, nil }
func (f rootFS) Path(string) string                               { return "/" }
func (f rootFS) Upper(string) string                              { return "/" }
func (f rootFS) MountImage(string, int, []string) (string, error) { return "/", nil }
func (f rootFS) UnmountImages(string, int) error                  { return nil }

type processes struct{ h *host }

func (f processes) Runtime(string) (string, error) { return "/usr/bin/crun", nil }
func (f processes) Prepare(context.Context, runtime.Launch) (launch.Monitor, error) {
	return monitor(f), f.h.request("start monitor", "monitor")
}
func (f processes) Attach(context.Context, string) (launch.Output, error) {
	if err := f.h.request("attach", "output"); err != nil && !f.h.late {
		return nil, err
	} else if err != nil {
		return output(f), err
	}
	return output(f), nil
}
func (f processes) Start(context.Context, string) error {
	return f.h.request("start process", "process")
}
func (f processes) Delete(context.Context, string) error {
	return f.h.release("delete process", "monitor", "process", "bundle")
}

type monitor struct{ h *host }

func (f monitor) Create(_ context.Context, s *specs.Spec) (int, error) {
	f.h.spec = s
	return 42, f.h.request("create process", "bundle")
}

type output struct{ h *host }

func (output) Read() (runtime.Frame, error) { return runtime.Frame{}, io.EOF }
func (output) Write(p []byte) (int, error)  { return len(p), nil }
func (output) CloseStdin() error            { return nil }
func (output) Resize(uint16, uint16) error  { return nil }
func (o output) Close() error               { return o.h.release("close output", "output") }

type networks struct{ networkv1.NetworkServiceClient }

func (networks) GetNetwork(_ context.Context, req *networkv1.GetNetworkRequest,
	_ ...grpc.CallOption) (*networkv1.GetNetworkResponse, error) {
	return &networkv1.GetNetworkResponse{Network: &networkv1.Network{Name: req.GetReference(), Bridge: "br0"}}, nil
}

type sandboxes struct {
	networkv1.SandboxServiceClient
	h *host
}

func (f sandboxes) CreateSandbox(context.Context, *networkv1.CreateSandboxRequest,
	...grpc.CallOption) (*networkv1.CreateSandboxResponse, error) {
	return &networkv1.CreateSandboxResponse{Sandbox: &networkv1.Sandbox{NetnsPath: "/proc/self/ns/net",
		Endpoints: []*networkv1.Endpoint{{NetworkName: "n0", NetworkId: "n0", Bridge: "br0",
			Ipv4Address: "10.0.0.2/24"}}}}, f.h.request("create sandbox", "sandbox")
}

func (f sandboxes) ReserveAddresses(context.Context, *networkv1.ReserveAddressesRequest,
	...grpc.CallOption) (*networkv1.ReserveAddressesResponse, error) {
	return &networkv1.ReserveAddressesResponse{}, f.h.request("reserve addresses", "addresses")
}

func (f sandboxes) Release(_ context.Context, req *networkv1.ReleaseRequest,
	_ ...grpc.CallOption) (*networkv1.ReleaseResponse, error) {
	if req.GetKeepAddresses() {
		return &networkv1.ReleaseResponse{}, f.h.release("release sandbox", "sandbox")
	}
	return &networkv1.ReleaseResponse{}, f.h.release("release sandbox", "sandbox", "addresses")
}

type publications struct {
	natv1.PublicationServiceClient
	h *host
}

func (f publications) Publish(context.Context, *natv1.PublishRequest,
	...grpc.CallOption) (*natv1.PublishResponse, error) {
	return &natv1.PublishResponse{}, f.h.request("publish", "ports")
}

func (f publications) Release(context.Context, *natv1.ReleaseRequest,
	...grpc.CallOption) (*natv1.ReleaseResponse, error) {
	return &natv1.ReleaseResponse{}, f.h.release("unpublish", "ports")
}

type policies struct {
	natv1.PolicyServiceClient
	h *host
}

func (f policies) PutPolicy(_ context.Context, req *natv1.PutPolicyRequest,
	_ ...grpc.CallOption) (*natv1.PutPolicyResponse, error) {
	name := "put policy"
	if slices.ContainsFunc(req.GetEndpoints(),
		func(e *natv1.PolicyEndpoint) bool { return len(e.GetAddresses()) == 0 }) {
		name = "block endpoints"
	}
	return &natv1.PutPolicyResponse{}, f.h.request(name, "policy")
}

func (f policies) DeletePolicy(context.Context, *natv1.DeletePolicyRequest,
	...grpc.CallOption) (*natv1.DeletePolicyResponse, error) {
	return &natv1.DeletePolicyResponse{}, f.h.release("delete policy", "policy")
}

type registrations struct {
	dnsv1.NameServiceClient
	h *host
}

func (f registrations) Register(context.Context, *dnsv1.RegisterRequest,
	...grpc.CallOption) (*dnsv1.RegisterResponse, error) {
	return &dnsv1.RegisterResponse{Files: &dnsv1.NameFiles{Hostname: "web"}}, f.h.request("register", "names")
}

func (f registrations) Release(context.Context, *dnsv1.ReleaseRequest,
	...grpc.CallOption) (*dnsv1.ReleaseResponse, error) {
	return &dnsv1.ReleaseResponse{}, f.h.release("unregister", "names")
}

func (f registrations) Update(context.Context, *dnsv1.UpdateRequest, ...grpc.CallOption) (*dnsv1.UpdateResponse,
	error) {
	return &dnsv1.UpdateResponse{}, f.h.request("update names", "names")
}
