package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/fairlead/fairlead/agent/config"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// TestMain runs the test binary as the agent if a test started it as one.
func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDeploymentModesRunAndLeaveNothing(t *testing.T) {
	for name, mode := range map[string][]string{"all in one": {""}, "split": {"engine", "supervisor", "fleet", "dns",
		"net",
		"nat"}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			for _, service := range mode {
				h.start(service)
			}
			for _, p := range h.processes {
				p.awaitReady()
			}
			h.checkPublic()
			if out := h.ns.Run("ip", "-br", "address", "show", "docker0"); !strings.Contains(out, "172.31.9.1/24") {
				t.Errorf("got docker0 %q, want the address 172.31.9.1/24", out)
			}
			for _, p := range h.processes {
				p.stop(syscall.SIGTERM)
			}
			for _, pattern := range []string{"*.sock", "*.lock", "*.pid"} {
				if left, _ := filepath.Glob(filepath.Join(h.dir, "*", pattern)); left != nil {
					t.Errorf("got files %v left, want none", left)
				}
			}
			if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), h.dir) {
				t.Errorf("got mounts left in %s, want none", h.dir)
			}
		})
	}
}

// checkPublic calls the public socket as administrators do.
func (h *host) checkPublic() {
	h.t.Helper()
	conn := h.dial("fairlead")
	health, err := grpc_health_v1.NewHealthClient(conn).Check(h.ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		h.t.Errorf("health: got %v, error %v", health, err)
	}

	info, err := hostv1.NewHostServiceClient(conn).GetInfo(h.ctx, &hostv1.GetInfoRequest{})
	if err != nil || info.GetDataRoot() != h.dir+"/d" {
		h.t.Errorf("info: got %v, error %v", info, err)
	}

	networks, err := networkv1.NewNetworkServiceClient(conn).ListNetworks(h.ctx, &networkv1.ListNetworksRequest{})
	if err != nil || len(networks.GetNetworks()) < 3 {
		h.t.Errorf("networks: got %v, error %v", networks, err)
	}

	protected, err := natv1.NewFirewallServiceClient(conn).ListNetworks(h.ctx, &natv1.ListNetworksRequest{})
	if err != nil || len(protected.GetNetworks()) == 0 {
		h.t.Errorf("firewall networks: got %v, error %v", protected, err)
	}
	if _, err := natv1.NewFirewallServiceClient(conn).DeleteNetwork(h.ctx,
		&natv1.DeleteNetworkRequest{Id: "x"}); err == nil {
		h.t.Error("got a firewall network deleted through the public socket, want an error")
	}

	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}

	request := &grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(request); err != nil {
		h.t.Fatal(err)
	}

	shown, err := stream.Recv()
	_ = stream.CloseSend()
	for _, name := range []string{"fairlead.container.v1.ContainerService", "fairlead.dns.v1.NameService",
		"fairlead.network.v1.SandboxService"} {
		if err != nil || !strings.Contains(fmt.Sprint(shown.GetListServicesResponse()), name) {
			h.t.Errorf("reflection does not show %s: %v", name, err)
		}
	}
}

func TestSecondAgentFailsWithoutEffect(t *testing.T) {
	h := newHost(t)
	first := h.start("")
	first.awaitReady()
	for _, service := range []string{"", "net"} {
		code, _, stderr := h.run(h.arguments(service)...)
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		want := fmt.Sprintf("data-root %s/d: is in use by another agent with service ", h.dir)
		if last := lines[len(lines)-1]; code != 1 || !strings.HasPrefix(last, want) ||
			!strings.Contains(last, fmt.Sprintf("(process %d [", first.cmd.Process.Pid)) {
			t.Errorf("second agent %q: got exit status %d: %s", service, code, stderr)
		}
	}

	h.checkPublic()
}

func TestAgentStartsAfterKill(t *testing.T) {
	h := newHost(t)
	for range 2 {
		p := h.start("")
		p.awaitReady()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	p := h.start("")
	p.awaitReady()
	h.checkPublic()
	p.stop(syscall.SIGINT)
}

func TestHangupReloadsConfiguration(t *testing.T) {
	h := newHost(t)
	p := h.start("dns")
	p.awaitReady()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}

	health, err := grpc_health_v1.NewHealthClient(h.dial("dns")).Check(h.ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: got %v, error %v", health, err)
	}

	p.stop(syscall.SIGTERM)
	if !strings.Contains(p.log.String(), "configuration reloaded") {
		t.Errorf("got log %s, want a reload", p.log.String())
	}
}

func TestStartErrorsOneLineEach(t *testing.T) {
	h := newHost(t)
	file := filepath.Join(h.dir, "c.json")
	if err := os.WriteFile(file, []byte("{\n  \"bip\": \"192.168.1.5/24\",\n  \"fixed-cidr\": \"10.20.0.0/16\",\n  "+
		"\"default-gateway\": \"10.20.1.1\"\n}"), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--config-file", file}, fmt.Sprintf("fixed-cidr (%[1]s:3), default-gateway (%[1]s:4): "+
			"10.20.0.0/16 and 10.20.1.1 are outside of 192.168.1.0/24, the subnet of bip (%[1]s:2); move them into "+
			"192.168.1.0/24, or change bip\n", file)},
		{[]string{"--bip", "10.0.0.0/24", "--mtu", "1"},
			"bip (flag --bip): 10.0.0.0/24 is a network address; write a host address, as in 10.0.0.1/24\nmtu (flag " +
				"--mtu): \"1\" is not a number from 68 to 65535; the MTU of Ethernet is 1500\n"},
		{[]string{"--bpi=1"}, "flag --bpi: unknown flag; did you mean --bip?\n"},
		{[]string{"-Z"}, "flag -Z: unknown flag; see --help\n"},
		{[]string{"nett"}, "argument \"nett\": is not a service; use one of dns, engine, fleet, nat, net, " +
			"supervisor, or " +
			"none for all\n"},
		{[]string{"net", "more"}, "argument \"more\": is not a service; remove it\n"},
		{[]string{"--config-file", "/no/such"}, "configuration file /no/such: cannot be read: no such file or " +
			"directory; use a readable file, or remove --config-file\n"},
		{[]string{"--host", "tcp://0.0.0.0:2375"},
			"hosts (flag --host): tcp://0.0.0.0:2375 would allow unauthenticated root access; use --tlsverify with " +
				"--tlscacert, --tlscert and --tlskey, or a loopback address, or accept the risk with --insecure-tcp\n"},
	} {
		code, stdout, stderr := h.run(c.args...)
		if code != 1 || stdout != "" || stderr != c.want {
			t.Errorf("%q: got exit status %d, output %q, errors\n%s\nwant\n%s", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestValidateChecksAndExits(t *testing.T) {
	h := newHost(t)
	misspelt := filepath.Join(h.dir, "deamon.json")
	if err := os.WriteFile(misspelt, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "daemon.json"), []byte("{// all\n\"hosts\": [\"unix:///a\"],}"),
		0o600); err != nil {
		t.Fatal(err)
	}

	code, stdout, stderr := h.run("--validate", "--config-file", filepath.Join(h.dir, "daemon.json"), "-H",
		"unix:///a", "-H", "unix:///b")
	if code != 0 || stdout != "configuration OK\n" || !strings.Contains(stderr, misspelt+": not used; did you mean ") {
		t.Errorf("got exit status %d, output %q, errors %q", code, stdout, stderr)
	}

	code, stdout, stderr = h.run("--validate", "--group", "nosuchgroup", "--tlsverify", "--tlscacert", "/nosuch/ca",
		"--tlscert", "/nosuch/cert", "--tlskey", "/nosuch/key")
	if code != 1 || stdout != "" || !strings.Contains(stderr,
		"tlscert /nosuch/cert, tlskey /nosuch/key: cannot be used") || !strings.Contains(stderr, "nosuchgroup") {
		t.Errorf("unusable TLS files and group: got exit status %d, output %q, errors %q", code, stdout, stderr)
	}

	code, _, stderr = h.run("--validate", "--mtu", "1", "--default-network-opt",
		"bridge=com.docker.network.driver.mtu=no")
	if code != 1 || strings.Count(stderr, "\n") != 2 ||
		!strings.Contains(stderr, "default-network-opts: not valid for driver bridge") {
		t.Errorf("two errors: got exit status %d, errors %q, want both", code, stderr)
	}
	if code, stdout, _ := h.run("--version"); code != 0 || !strings.HasPrefix(stdout, "fairlead-agent version ") {
		t.Errorf("--version: got exit status %d, output %q", code, stdout)
	}
}

func TestServicesHaveUniqueNamesAndPackages(t *testing.T) {
	cfg, err := config.Build()
	if err != nil {
		t.Fatal(err)
	}

	var names, packages []string
	for _, s := range services() {
		if slices.Contains(names, s.Name) || cfg.Service(s.Name).Network != "unix" || s.Title == "" {
			t.Errorf("service %q, %q: socket %q", s.Name, s.Title, cfg.Service(s.Name))
		}
		names, packages = append(names, s.Name), append(packages, s.Packages...)
	}

	// the daemon itself implements fairlead.agent.v1
	want := []string{"fairlead.agent.v1"}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if name := string(f.Package()); f.Services().Len() > 0 && strings.HasPrefix(name, "fairlead.") {
			want = append(want, name)
		}
		return true
	})
	slices.Sort(want)
	got := slices.Sorted(slices.Values(append(packages, "fairlead.agent.v1")))
	if !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("got packages %q, want %q", got, want)
	}
}
