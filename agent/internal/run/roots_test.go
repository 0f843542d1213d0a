package run_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/peer"
	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/test/testcollector"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

const timeout = 30 * time.Second

// fake is a test service.
type fake struct {
	containerv1.UnimplementedContainerServiceServer
	networkv1.UnimplementedSandboxServiceServer

	name        string
	guard       natv1.FirewallServiceClient
	beforeReady chan struct{} // nil: ready immediately
	run         func(context.Context) error
}

func (f *fake) Register(r grpc.ServiceRegistrar) {
	switch f.name {
	case "net":
		networkv1.RegisterNetworkServiceServer(r, netHandlers{fake: f})
		networkv1.RegisterSandboxServiceServer(r, f)
	case "nat":
		natv1.RegisterFirewallServiceServer(r, natHandlers{fake: f})
	case "supervisor":
		containerv1.RegisterContainerServiceServer(r, f)
	}
}

func (f *fake) Run(ctx context.Context, ready func()) error {
	if f.beforeReady != nil {
		select {
		case <-f.beforeReady:
		case <-ctx.Done():
			return nil
		}
	}
	ready()
	if f.run != nil {
		return f.run(ctx)
	}
	<-ctx.Done()
	return nil
}

func (f *fake) Close() error { return nil }

func (f *fake) ListContainers(
	context.Context, *containerv1.ListContainersRequest,
) (*containerv1.ListContainersResponse, error) {
	return &containerv1.ListContainersResponse{Containers: []*containerv1.Container{{Id: "c1"}}}, nil
}

func (f *fake) CreateSandbox(context.Context, *networkv1.CreateSandboxRequest) (*networkv1.CreateSandboxResponse,
	error) {
	return &networkv1.CreateSandboxResponse{}, nil
}

type netHandlers struct {
	*fake
	networkv1.UnimplementedNetworkServiceServer
}

// ListNetworks calls natagent.
func (f netHandlers) ListNetworks(ctx context.Context,
	_ *networkv1.ListNetworksRequest) (*networkv1.ListNetworksResponse, error) {
	r, err := f.guard.ListNetworks(ctx, &natv1.ListNetworksRequest{})
	if err != nil {
		return nil, err
	}
	return &networkv1.ListNetworksResponse{Networks: []*networkv1.Network{{Id: "guarded " +
		r.GetNetworks()[0].GetId()}}}, nil
}

type natHandlers struct {
	*fake
	natv1.UnimplementedFirewallServiceServer
}

func (natHandlers) ListNetworks(context.Context, *natv1.ListNetworksRequest) (*natv1.ListNetworksResponse, error) {
	return &natv1.ListNetworksResponse{Networks: []*natv1.FirewallNetwork{{Id: "n1"}}}, nil
}

func newFake(f *fake) func(context.Context, service.Deps) (service.Service, error) {
	return func(_ context.Context, h service.Deps) (service.Service, error) {
		if f.name == "net" {
			f.guard = natv1.NewFirewallServiceClient(h.Peer("nat"))
		}
		return service.As(f, nil)
	}
}

func failNew(err error) func(context.Context, service.Deps) (service.Service, error) {
	return func(context.Context, service.Deps) (service.Service, error) { return service.As[*fake](nil, err) }
}

func netService() service.Spec {
	return service.Spec{Name: "net", Title: "netagent", Packages: []string{"fairlead.network.v1"},
		New: newFake(&fake{name: "net"})}
}

func natService() service.Spec {
	return service.Spec{Name: "nat", Title: "natagent", Packages: []string{"fairlead.nat.v1"},
		New: newFake(&fake{name: "nat"})}
}

func supervisorService() service.Spec {
	return service.Spec{Name: "supervisor", Title: "supervisor", Public: true,
		Packages: []string{"fairlead.container.v1", "fairlead.host.v1"}, New: newFake(&fake{name: "supervisor"})}
}

// allServices returns the specs of the host, which tests do not run.
func allServices() []service.Spec {
	return []service.Spec{natService(), netService(), {Name: "dns", Title: "dnsagent",
		Packages: []string{"fairlead.dns.v1"}}, supervisorService()}
}

// roots holds the directories of a host and the processes that use them.
type roots struct {
	t       *testing.T
	ctx     context.Context
	cfg     *config.Config
	written *config.Config // what a reload reads; nil: cfg
	hangups chan struct{}
	end     context.CancelFunc
	running context.Context
	results []chan error
}

func newRoots(t *testing.T, more ...config.Setting) *roots {
	t.Helper()
	dir := t.TempDir()
	settings := append(more, config.Setting{Key: "exec-root", Texts: []string{filepath.Join(dir, "x")}},
		config.Setting{Key: "data-root", Texts: []string{filepath.Join(dir, "d")}})
	cfg, err := config.Build(config.Layer{Rank: config.Flag, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	r := &roots{t: t, cfg: cfg, hangups: make(chan struct{})}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(context.Background(), timeout)
	r.running, r.end = context.WithCancel(r.ctx)
	t.Cleanup(func() {
		r.stop()
		cancel()
	})
	return r
}

// collect starts a collector for the traces of the processes.
func (r *roots) collect() *testcollector.Collector {
	r.t.Helper()
	socket := filepath.Join(r.t.TempDir(), "s")
	collector, err := testcollector.Start(socket)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(collector.Stop)
	r.cfg.TracesEndpoint = config.Collector{Host: config.Host{Network: "unix", Address: socket}}
	return collector
}

func (r *roots) options(name string, public bool, services ...service.Spec) run.Options {
	return run.Options{Name: name, Config: r.cfg, Log: slog.New(slog.DiscardHandler),
		Services: services, All: allServices(),
		Public: public,
		Reread: r.reread, Hangups: r.hangups}
}

func (r *roots) reread() (*config.Config, []string, error) {
	if r.written == nil {
		return r.cfg, nil, nil
	}
	return r.written, []string{"beware"}, nil
}

// write changes what the next reload reads.
func (r *roots) write(settings ...config.Setting) {
	r.t.Helper()
	var err error
	settings = append(settings, flag("exec-root", r.cfg.ExecRoot), flag("data-root", r.cfg.DataRoot))
	if r.written, err = config.Build(config.Layer{Rank: config.Flag, Settings: settings}); err != nil {
		r.t.Fatal(err)
	}
}

// launch runs a process of the host until stop.
func (r *roots) launch(name string, public bool, services ...service.Spec) {
	o := r.options(name, public, services...)
	var err error
	if o.Notifier, err = process.NotifierFromEnv(); err != nil {
		r.t.Fatal(err)
	}
	result := make(chan error, 1)
	r.results = append(r.results, result)
	go func() { result <- run.Run(r.running, o) }()
}

// start is launch for a process that must become ready.
func (r *roots) start(name string, public bool, services ...service.Spec) {
	r.t.Helper()
	received := r.listenAsManager()
	r.launch(name, public, services...)
	select {
	case <-received:
	case err := <-r.results[len(r.results)-1]:
		r.t.Fatalf("%s ended: %v", name, err)
	}
}

// listenAsManager receives the notifications of the next process.
func (r *roots) listenAsManager() <-chan string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	r.t.Setenv("NOTIFY_SOCKET", path)
	received := make(chan string, 8)
	go func() {
		b := make([]byte, 64)
		for {
			n, err := conn.Read(b)
			if err != nil {
				close(received)
				return
			}
			received <- string(b[:n])
		}
	}()
	return received
}

// stop stops all processes, which must exit without an error.
func (r *roots) stop() {
	r.t.Helper()
	r.end()
	for _, result := range r.results {
		if err := <-result; err != nil {
			r.t.Errorf("stopping: %v", err)
		}
	}
	r.results = nil
}

func (r *roots) dial(socket string) *grpc.ClientConn {
	r.t.Helper()
	conn, err := peer.DialRaw(socket, config.Host{Network: "unix", Address: r.cfg.ExecRoot + "/" + socket + ".sock"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *roots) reflected(conn *grpc.ClientConn) string {
	r.t.Helper()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	list := &grpc_reflection_v1.ServerReflectionRequest_ListServices{}
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: list}); err != nil {
		r.t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	_ = stream.CloseSend()
	return fmt.Sprint(answer.GetListServicesResponse().GetService())
}

func (r *roots) mustBeEmpty(dir string) {
	r.t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		r.t.Errorf("%s holds %v, %v", dir, left, err)
	}
}
