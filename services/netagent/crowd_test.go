package netagent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/fairlead/fairlead/proto/faultrpc"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/api/natagenttest"
)

// TestAgentKillAllocatesNoDuplicates has many at once get, give back, reserve and exchange addresses of a network that
// is too small for all, and kills the agent in the midst of it, several times.
func TestAgentKillAllocatesNoDuplicates(t *testing.T) {
	h := newHost(t)
	c := &crowd{host: h, held: map[string]string{}}
	for range 20 {
		c.owners = append(c.owners, id.New())
	}
	for range 5 {
		kill := c.startProcess()
		c.compare()
		c.bustle()
		kill()
		c.wait.Wait()
	}
	kill := c.startProcess()
	c.compare()
	for _, sb := range c.list() {
		c.must(c.sandboxes.Release(context.Background(), &networkv1.ReleaseRequest{Owner: sb.GetOwner()}))
	}
	kill()
	h.run().nothingLeft()
}

// crowd is a set of owners that use one agent concurrently.
type crowd struct {
	*host
	networks  networkv1.NetworkServiceClient
	sandboxes networkv1.SandboxServiceClient
	wait      sync.WaitGroup
	owners    []string

	mu    sync.Mutex
	held  map[string]string // owners, by network and address
	given int
}

// bustle has owners do what they may, and returns after a while, when they go on.
func (c *crowd) bustle() {
	for _, owner := range c.owners {
		c.wait.Go(func() {
			for c.step(owner) {
			}
		})
	}
	before := c.count()
	c.eventually("many addresses are given out", func() bool { return c.count() > before+60 })
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.given
}

// step has an owner do one thing. It is false when nobody answers any more.
func (c *crowd) step(owner string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	spec := &networkv1.EndpointSpec{Network: "tight"}
	if rand.IntN(5) == 0 {
		spec.Ipv4Address = fmt.Sprintf("10.9.0.%d", 2+rand.IntN(14))
	}
	var err error
	switch rand.IntN(10) {
	case 0:
		_, err = c.sandboxes.ReserveAddresses(ctx, &networkv1.ReserveAddressesRequest{Owner: owner, Endpoints: []*networkv1.EndpointSpec{spec}})
	case 1, 2, 3:
		c.drop(owner)
		_, err = c.sandboxes.Release(ctx, &networkv1.ReleaseRequest{Owner: owner, KeepAddresses: rand.IntN(3) == 0, KeepNamespace: rand.IntN(3) == 0})
	case 4:
		c.drop(owner)
		var now *networkv1.DisconnectEndpointResponse
		if now, err = c.sandboxes.DisconnectEndpoint(ctx, &networkv1.DisconnectEndpointRequest{Owner: owner, Network: "tight"}); err == nil {
			c.note(now.GetSandbox())
		}
	case 5:
		var now *networkv1.ConnectEndpointResponse
		if now, err = c.sandboxes.ConnectEndpoint(ctx, &networkv1.ConnectEndpointRequest{Owner: owner, Endpoint: spec}); err == nil {
			c.note(now.GetSandbox())
		}
	default:
		var now *networkv1.CreateSandboxResponse
		req := &networkv1.CreateSandboxRequest{Owner: owner, Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE, Endpoints: []*networkv1.EndpointSpec{spec}}
		if now, err = c.sandboxes.CreateSandbox(ctx, req); err == nil {
			c.note(now.GetSandbox())
		}
	}
	if code := status.Code(err); code == codes.Internal || code == codes.Unknown {
		c.t.Error(err)
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return false
	}
	return true
}

// note writes down what an owner was told that it has, which nobody else may have.
func (c *crowd) note(sb *networkv1.Sandbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range sb.GetEndpoints() {
		address := e.GetNetworkName() + " " + e.GetIpv4Address()
		if other, taken := c.held[address]; taken && other != sb.GetOwner() {
			c.t.Errorf("%s was given to %s while %s had it", address, id.Short(sb.GetOwner()), id.Short(other))
		}
		c.held[address] = sb.GetOwner()
		c.given++
	}
}

// drop forgets what an owner has, before it gives that back.
func (c *crowd) drop(owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for address, who := range c.held {
		if who == owner {
			delete(c.held, address)
		}
	}
}

// compare checks that the agent knows of everything that it has promised, and of no address twice.
func (c *crowd) compare() {
	c.t.Helper()
	has := map[string]string{}
	for _, sb := range c.list() {
		for _, e := range sb.GetEndpoints() {
			address := e.GetNetworkName() + " " + e.GetIpv4Address()
			if other, taken := has[address]; taken {
				c.t.Errorf("both %s and %s have %s", id.Short(other), id.Short(sb.GetOwner()), address)
			}
			has[address] = sb.GetOwner()
		}
	}
	for address, owner := range c.held {
		if has[address] != owner {
			c.t.Errorf("%s was promised to %s, and %q has it", address, id.Short(owner), id.Short(has[address]))
		}
	}
	c.held = has
}

func (c *crowd) list() []*networkv1.Sandbox {
	resp, err := c.sandboxes.ListSandboxes(context.Background(), &networkv1.ListSandboxesRequest{})
	c.must(resp, err)
	return resp.GetSandboxes()
}

func (c *crowd) must(_ any, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// The environment by which this test binary knows that it is to be a netagent: its roots.
const agentVariable = "NETAGENT_TEST_ROOTS"

// beAgent runs netagent until it is killed.
func beAgent(roots string) {
	data, exec, _ := strings.Cut(roots, ":")
	s, err := New(context.Background(), Config{DataRoot: data, ExecRoot: exec, Firewall: &natagenttest.Firewall{}, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test
			os.Exit(0)
		}()
		err = s.Run(context.Background(), func() {
			socket := filepath.Join(exec, "api.sock")
			_ = os.Remove(socket)
			l, err := net.Listen("unix", socket)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
				resp, err := handle(ctx, req)
				return resp, faultrpc.ToStatus(err)
			}))
			s.Register(server)
			fmt.Println("ready")
			_ = server.Serve(l)
		})
	}
	fmt.Println(err)
	os.Exit(1)
}

// startProcess starts a netagent that is a process of its own, with the network that all want to be on. kill ends it as nothing else does.
func (c *crowd) startProcess() (kill func()) {
	c.t.Helper()
	cmd := c.ns.Command(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), agentVariable+"="+c.cfg.DataRoot+":"+c.cfg.ExecRoot)
	stdin, err := cmd.StdinPipe()
	c.must(stdin, err)
	stdout, err := cmd.StdoutPipe()
	c.must(stdout, err)
	c.must(nil, cmd.Start())
	conn, err := grpc.NewClient("unix:"+filepath.Join(c.cfg.ExecRoot, "api.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	c.must(conn, err)
	dead := false
	kill = func() {
		if !dead {
			dead = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = stdin.Close()
			_ = conn.Close()
		}
	}
	c.t.Cleanup(kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		c.t.Fatalf("the agent does not start: %q, %v", line, err)
	}
	c.networks, c.sandboxes = networkv1.NewNetworkServiceClient(conn), networkv1.NewSandboxServiceClient(conn)
	_, err = c.networks.CreateNetwork(context.Background(), &networkv1.CreateNetworkRequest{Name: "tight", Internal: true,
		Pools: []*networkv1.PoolSpec{{Subnet: "10.9.0.0/28"}}})
	if status.Code(err) != codes.AlreadyExists {
		c.must(nil, err)
	}
	return kill
}
