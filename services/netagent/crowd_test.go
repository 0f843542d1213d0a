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

// TestAgentKillAllocatesNoDuplicates runs concurrent owners that allocate, release and reserve addresses
// of a network that is too small for all of them, and kills the agent meanwhile, several times.
func TestAgentKillAllocatesNoDuplicates(t *testing.T) {
	h := newHost(t)
	c := &crowd{host: h, held: map[string]string{}}
	for range 20 {
		c.owners = append(c.owners, id.New())
	}

	for range 5 {
		kill := c.startProcess()
		c.checkAllocations()
		c.startOwners()
		kill()
		c.wait.Wait()
	}

	kill := c.startProcess()
	c.checkAllocations()
	for _, sb := range c.list() {
		c.must(c.sandboxes.Release(context.Background(), &networkv1.ReleaseRequest{Owner: sb.GetOwner()}))
	}

	kill()
	h.run().checkNoState()
}

// crowd is a set of owners that use one agent concurrently.
type crowd struct {
	*host
	networks  networkv1.NetworkServiceClient
	sandboxes networkv1.SandboxServiceClient
	wait      sync.WaitGroup
	owners    []string

	mu        sync.Mutex
	held      map[string]string // owners, by network and address
	allocated int
}

// startOwners starts all owners and returns after 60 allocations, while they continue.
func (c *crowd) startOwners() {
	for _, owner := range c.owners {
		c.wait.Go(func() {
			for c.step(owner) {
			}
		})
	}
	before := c.count()
	c.eventually("the owners have allocated 60 addresses", func() bool { return c.count() > before+60 })
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allocated
}

// step sends one random request of an owner. It returns false if the agent does not respond.
func (c *crowd) step(owner string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	spec := &networkv1.EndpointSpec{Network: "tight"}
	if rand.IntN(5) == 0 {
		spec.Ipv4Address = fmt.Sprintf("10.9.0.%d", 2+rand.IntN(14))
	}

	var err error
	switch rand.IntN(10) {
	case 0:
		_, err = c.sandboxes.ReserveAddresses(ctx, &networkv1.ReserveAddressesRequest{Owner: owner,
			Endpoints: []*networkv1.EndpointSpec{spec}})
	case 1, 2, 3:
		c.unrecord(owner)
		_, err = c.sandboxes.Release(ctx, &networkv1.ReleaseRequest{Owner: owner, KeepAddresses: rand.IntN(3) == 0,
			KeepNamespace: rand.IntN(3) == 0})
	case 4:
		c.unrecord(owner)
		var now *networkv1.DisconnectEndpointResponse
		if now, err = c.sandboxes.DisconnectEndpoint(ctx, &networkv1.DisconnectEndpointRequest{Owner: owner,
			Network: "tight"}); err == nil {
			c.record(now.GetSandbox())
		}
	case 5:
		var now *networkv1.ConnectEndpointResponse
		if now, err = c.sandboxes.ConnectEndpoint(ctx, &networkv1.ConnectEndpointRequest{Owner: owner,
			Endpoint: spec}); err == nil {
			c.record(now.GetSandbox())
		}
	default:
		var now *networkv1.CreateSandboxResponse
		req := &networkv1.CreateSandboxRequest{Owner: owner, Mode: networkv1.SandboxMode_SANDBOX_MODE_PRIVATE,
			Endpoints: []*networkv1.EndpointSpec{spec}}
		if now, err = c.sandboxes.CreateSandbox(ctx, req); err == nil {
			c.record(now.GetSandbox())
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

// record stores the addresses of a response, which no other owner must have.
func (c *crowd) record(sb *networkv1.Sandbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range sb.GetEndpoints() {
		address := e.GetNetworkName() + " " + e.GetIpv4Address()
		if other, taken := c.held[address]; taken && other != sb.GetOwner() {
			c.t.Errorf("%s was allocated to %s while %s had it", address, id.Short(sb.GetOwner()), id.Short(other))
		}
		c.held[address] = sb.GetOwner()
		c.allocated++
	}
}

// unrecord removes the addresses of an owner before it releases them.
func (c *crowd) unrecord(owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for address, who := range c.held {
		if who == owner {
			delete(c.held, address)
		}
	}
}

// checkAllocations checks that the agent stored every address of a response, and no address twice.
func (c *crowd) checkAllocations() {
	c.t.Helper()
	has := map[string]string{}
	for _, sb := range c.list() {
		for _, e := range sb.GetEndpoints() {
			address := e.GetNetworkName() + " " + e.GetIpv4Address()
			if other, taken := has[address]; taken {
				c.t.Errorf("%s and %s both have %s", id.Short(other), id.Short(sb.GetOwner()), address)
			}
			has[address] = sb.GetOwner()
		}
	}

	for address, owner := range c.held {
		if has[address] != owner {
			c.t.Errorf("%s: got owner %[3]q, want %[2]s", address, id.Short(owner), id.Short(has[address]))
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

// agentVariable makes this test binary run netagent. Its value is DATAROOT:EXECROOT.
const agentVariable = "NETAGENT_TEST_ROOTS"

// runAgentProcess runs netagent until it is killed.
func runAgentProcess(roots string) {
	data, exec, _ := strings.Cut(roots, ":")
	s, err := New(context.Background(), Config{DataRoot: data, ExecRoot: exec, Firewall: &natagenttest.Firewall{},
		Log: slog.New(slog.DiscardHandler)})
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
			server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any,
				_ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
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

// startProcess starts netagent as a process, with the network that the owners use. kill sends SIGKILL.
func (c *crowd) startProcess() (kill func()) {
	c.t.Helper()
	cmd := c.ns.Command(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), agentVariable+"="+c.cfg.DataRoot+":"+c.cfg.ExecRoot)
	stdin, err := cmd.StdinPipe()
	c.must(stdin, err)
	stdout, err := cmd.StdoutPipe()
	c.must(stdout, err)
	c.must(nil, cmd.Start())
	conn, err := grpc.NewClient("unix:"+filepath.Join(c.cfg.ExecRoot, "api.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
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
		c.t.Fatalf("agent did not start: got %q, %v", line, err)
	}

	c.networks, c.sandboxes = networkv1.NewNetworkServiceClient(conn), networkv1.NewSandboxServiceClient(conn)
	_, err = c.networks.CreateNetwork(context.Background(),
		&networkv1.CreateNetworkRequest{Name: "tight", Internal: true,
			Pools: []*networkv1.PoolSpec{{Subnet: "10.9.0.0/28"}}})
	if status.Code(err) != codes.AlreadyExists {
		c.must(nil, err)
	}

	return kill
}
