package run_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func TestDeploymentModesRespondAlike(t *testing.T) {
	for name, shape := range map[string]func(r *roots){
		"all in one": func(r *roots) { r.start("agent", true, netService(), natService(), supervisorService()) },
		"split, client first": func(r *roots) {
			r.start("supervisor", true, supervisorService())
			r.start("net", false, netService())
			r.start("nat", false, natService())
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoots(t)
			r.cfg.MetricsAddress = config.Host{Network: "unix", Address: r.cfg.ExecRoot + "/metrics.sock"}
			collector := r.collect()
			shape(r)
			conn := r.dial("fairlead")
			list, err := containerv1.NewContainerServiceClient(conn).ListContainers(r.ctx,
				&containerv1.ListContainersRequest{})
			if err != nil || list.GetContainers()[0].GetId() != "c1" {
				t.Errorf("containers: %v, %v", list, err)
			}
			nets, err := networkv1.NewNetworkServiceClient(conn).ListNetworks(r.ctx, &networkv1.ListNetworksRequest{})
			if err != nil || nets.GetNetworks()[0].GetId() != "guarded n1" {
				t.Errorf("networks: %v, %v", nets, err)
			}
			create := &networkv1.CreateSandboxRequest{}
			if _, err := networkv1.NewSandboxServiceClient(conn).CreateSandbox(r.ctx,
				create); status.Code(err) != codes.PermissionDenied {
				t.Errorf("a change on the public socket: %v", err)
			}
			if _, err := networkv1.NewSandboxServiceClient(r.dial("net")).CreateSandbox(r.ctx, create); err != nil {
				t.Errorf("a change on the service's socket: %v", err)
			}
			health, err := grpc_health_v1.NewHealthClient(conn).Check(r.ctx, &grpc_health_v1.HealthCheckRequest{})
			if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
				t.Errorf("health: %v, %v", health, err)
			}
			if shown := r.reflected(conn); !strings.Contains(shown, "fairlead.network.v1.NetworkService") ||
				!strings.Contains(shown, "fairlead.container.v1.ContainerService") {
				t.Errorf("reflection shows %s", shown)
			}
			checkMetrics(t, r.cfg.MetricsAddress.Address)
			r.stop()
			checkTraces(t, collector.Trees())
			r.mustBeEmpty(r.cfg.ExecRoot)
			r.mustBeEmpty(r.cfg.DataRoot)
		})
	}
}

// checkTraces checks that the calls of a request are in its trace, in whatever process.
func checkTraces(t *testing.T, trees string) {
	t.Helper()
	for _, tree := range []string{"fairlead.container.v1.ContainerService/ListContainers\n",
		`fairlead.network.v1.NetworkService/ListNetworks
  fairlead.network.v1.NetworkService/ListNetworks
    fairlead.nat.v1.FirewallService/ListNetworks
`, "\nfairlead.network.v1.SandboxService/CreateSandbox failed: "} {
		if !strings.Contains(trees, tree) {
			t.Errorf("got traces\n%swant\n%s", trees, tree)
		}
	}
	if strings.Contains(trees, "Health") || strings.Contains(trees, "?") {
		t.Errorf("got traces\n%s", trees)
	}
}

// checkMetrics reads the endpoint of the process with the public socket, which has those of all services.
func checkMetrics(t *testing.T, path string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
	defer client.CloseIdleConnections()
	request := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://agent"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}

	if code, _ := request(http.MethodPost, "/metrics"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", code)
	}
	if code, _ := request(http.MethodGet, "/"); code != http.StatusNotFound {
		t.Errorf("another path: got %d", code)
	}

	var missing []string
	for began := time.Now(); time.Since(began) < time.Minute; { // a service can be slow under load
		code, text := request(http.MethodGet, "/metrics")
		missing = slices.DeleteFunc([]string{`fairlead_service_up{service="nat"} 1`,
			`fairlead_service_up{service="supervisor"} 1`, `,outcome="dropped"} 0`,
			`_count{server="public",method="fairlead.container.v1.ContainerService/ListContainers",code="OK"} 1`,
			`_count{server="net",method="fairlead.network.v1.SandboxService/CreateSandbox",code="OK"} 1`},
			func(line string) bool { return code == http.StatusOK && strings.Contains(text, line) })
		if len(missing) == 0 {
			return
		}
	}
	t.Errorf("metrics without %q", missing)
}

func TestSecondAgentOnSameRootsIsRejected(t *testing.T) {
	for name, second := range map[string][]service.Spec{"another of all": {netService(), natService()},
		"one of them": {natService()}} {
		t.Run(name, func(t *testing.T) {
			r := newRoots(t)
			r.start("agent", false, netService(), natService())
			err := run.Run(r.ctx, r.options("second", false, second...))
			want := fmt.Sprintf("data-root %s: is in use by another agent with service %s (process %d ", r.cfg.DataRoot,
				second[0].Name, os.Getpid())
			if !fault.Is(err, fault.Busy) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v; want %s", err, want)
			}
			if _, err := networkv1.NewNetworkServiceClient(r.dial("net")).ListNetworks(r.ctx,
				&networkv1.ListNetworksRequest{}); err != nil {
				t.Errorf("the first agent afterwards: %v", err)
			}
		})
	}
}

func TestMissingRequirementsAreReportedTogether(t *testing.T) {
	r := newRoots(t)
	broken := func(name, what string) service.Spec {
		s := natService()
		s.Name, s.New = name, failNew(fault.New(fault.Unavailable, what, "is missing"))
		return s
	}
	err := run.Run(r.ctx, r.options("agent", true, broken("net", "CAP_NET_ADMIN"), natService(),
		broken("supervisor", "crun")))
	if err == nil || err.Error() != "CAP_NET_ADMIN: is missing\ncrun: is missing" {
		t.Errorf("%v", err)
	}
	r.mustBeEmpty(r.cfg.ExecRoot)
}

func TestFailedListenRemovesEverything(t *testing.T) {
	r := newRoots(t)
	r.cfg.Hosts[0].Address = r.cfg.ExecRoot + "/no/such/directory.sock"
	if err := run.Run(r.ctx, r.options("agent", true, netService())); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	r.mustBeEmpty(r.cfg.ExecRoot)
}

// TestFailedMetricsSocketRemovesEverything checks that the public socket does not stay either.
func TestFailedMetricsSocketRemovesEverything(t *testing.T) {
	r := newRoots(t)
	r.cfg.MetricsAddress = config.Host{Network: "unix", Address: r.cfg.ExecRoot + "/no/such/directory.sock"}
	if err := run.Run(r.ctx, r.options("agent", true, netService())); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	r.mustBeEmpty(r.cfg.ExecRoot)
}

func TestServiceExitStopsAgent(t *testing.T) {
	for _, c := range []struct {
		ends error
		want string
	}{{errors.New("netlink is gone"), "netlink is gone"}, {nil, "service nat: exited unexpectedly"}} {
		r := newRoots(t)
		failing := natService()
		failing.New = newFake(&fake{name: "nat", run: func(context.Context) error { return c.ends }})
		if err := run.Run(r.ctx, r.options("agent", false, netService(), failing)); err == nil ||
			err.Error() != c.want {
			t.Errorf("%v; want %s", err, c.want)
		}
		r.mustBeEmpty(r.cfg.ExecRoot)
	}
}

func TestReadyIsSentWhenAllServicesAreReady(t *testing.T) {
	r := newRoots(t)
	received := r.listenAsManager()
	goOn := make(chan struct{})
	slow := natService()
	slow.New = newFake(&fake{name: "nat", beforeReady: goOn})
	r.launch("agent", false, netService(), slow)
	health := grpc_health_v1.NewHealthClient(r.dial("nat"))
	for {
		h, err := health.Check(r.ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && h.GetStatus() == grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			break
		}
		if r.ctx.Err() != nil {
			t.Fatalf("health: %v, %v", h, err)
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case word := <-received:
		t.Errorf("before all services were ready the manager received %q", word)
	default:
	}
	close(goOn)
	if word := <-received; word != "READY=1" {
		t.Errorf("the manager received %q", word)
	}
	r.stop()
	if word := <-received; word != "STOPPING=1" {
		t.Errorf("the manager received %q", word)
	}
}

func TestSharedPidfileIsUsedByAllInOneAgent(t *testing.T) {
	for _, services := range [][]service.Spec{{netService()}, {netService(), natService()}} {
		dir := t.TempDir()
		r := newRoots(t, config.Setting{Key: "pidfile", Texts: []string{dir + "/whole.pid"},
			Origin: config.Origin{Rank: config.File}})
		want := dir + "/whole.pid"
		if len(services) == 1 {
			want = r.cfg.ExecRoot + "/net.pid"
		}
		r.start("net", false, services...)
		if text, err := os.ReadFile(want); err != nil || string(text) != fmt.Sprintf("%d\n", os.Getpid()) {
			t.Errorf("%d services: %q, %v", len(services), text, err)
		}
		if _, err := os.Stat(dir + "/whole.pid"); (err == nil) != (len(services) > 1) {
			t.Errorf("%d services and the shared pidfile: %v", len(services), err)
		}
		r.stop()
	}
}
