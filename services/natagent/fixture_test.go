package natagent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/natagent"
)

const timeout = time.Minute

// rpcs are the gRPC services of a natagent, called without a connection.
type rpcs struct {
	natv1.PublicationServiceServer
	natv1.FirewallServiceServer
}

// rpcsOf returns the gRPC services of a natagent.
func rpcsOf(s *natagent.Service) *rpcs {
	r := &rpcs{}
	s.Register(r)
	return r
}

// RegisterService implements grpc.ServiceRegistrar.
func (r *rpcs) RegisterService(_ *grpc.ServiceDesc, service any) {
	switch s := service.(type) {
	case natv1.PublicationServiceServer:
		r.PublicationServiceServer = s
	case natv1.FirewallServiceServer:
		r.FirewallServiceServer = s
	}
}

// running is a natagent in this process.
type running struct {
	*natagent.Service
	*rpcs
	stop func()
}

// start starts a natagent for a namespace, waits until it is ready, and stops it after the test.
func start(t testing.TB, n *testns.NS, dataRoot string, log io.Writer) *running {
	t.Helper()
	return startWith(t, n, dataRoot, natagent.BackendAuto, log)
}

// startWith starts a natagent with a firewall backend.
func startWith(t testing.TB, n *testns.NS, dataRoot, backend string, log io.Writer) *running {
	t.Helper()
	s, err := natagent.New(context.Background(), natagent.Config{
		DataRoot: dataRoot, Log: slog.New(slog.NewTextHandler(log, nil)), NetNS: n.Fd(), FirewallBackend: backend})

	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(ready) }) }()
	stopped := false
	r := &running{Service: s, rpcs: rpcsOf(s), stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}}

	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("Run returned before it was ready: %v", err)
	case <-time.After(timeout):
		t.Fatal("not ready in time")
	}

	t.Cleanup(r.stop)
	return r
}

// fresh starts a natagent on a new, empty host.
func fresh(t testing.TB) (*running, *testns.NS) {
	t.Helper()
	n := testns.New(t)
	return start(t, n, t.TempDir(), io.Discard), n
}

// networkID is the ID of the network in most tests.
func networkID(i int) string { return fmt.Sprintf("%064x", 0xa0+i) }

// site is a host with one bridge and two containers, and an external client.
type site struct{ host, ext, a, b *testns.NS }

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{testns.New(t), testns.New(t), testns.New(t), testns.New(t)}
	testns.Connect(t, s.host, "ext0", "10.1.0.1/24 fd01::1/64", s.ext, "eth0", "10.1.0.2/24 fd01::2/64")
	s.host.Run("sh", "-ec", `
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo 0 > $f; done
		ip link add brA type bridge
		ip addr add 10.10.1.1/24 dev brA; ip addr add fd10:1::1/64 dev brA nodad
		sysctl -qw net.ipv4.conf.brA.route_localnet=1
		ip link set brA up`)

	for i, c := range []*testns.NS{s.a, s.b} {
		s.host.Run("sh", "-ec", fmt.Sprintf(`
			ip link add veth%[1]d type veth peer name eth0 netns %[2]s
			ip link set veth%[1]d master brA; ip link set veth%[1]d type bridge_slave hairpin on; ip link set veth%[1]d up`, i, c.Path()))
		c.Run("sh", "-ec", fmt.Sprintf(`
			ip addr add 10.10.1.%[1]d/24 dev eth0; ip addr add fd10:1::%[1]d/64 dev eth0 nodad; ip link set eth0 up
			ip route add default via 10.10.1.1; ip -6 route add default via fd10:1::1`, i+2))
		name := string(rune('a' + i))
		go echoTCP(c.Listen("tcp4", "0.0.0.0:80"), name)
		go echoTCP(c.Listen("tcp6", "[::]:80"), name)
		go echoUDP(c.ListenPacket("udp4", "0.0.0.0:5000"), name)
	}

	return s
}

func echoTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, name)
		_ = c.Close()
	}
}

func echoUDP(c net.PacketConn, name string) {
	for {
		_, from, err := c.ReadFrom(make([]byte, 8))
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte(name), from)
	}
}

func (s *site) guard(t testing.TB, r *running) {
	t.Helper()
	_, err := r.PutNetwork(context.Background(), &natv1.PutNetworkRequest{Network: &natv1.FirewallNetwork{
		Id: networkID(0), Bridge: "brA", Subnets: []string{"10.10.1.0/24", "fd10:1::/64"}, Masquerade: true,
		Icc: true}})
	if err != nil {
		t.Fatal(err)
	}
}

// ask connects from a namespace and returns the name of the container that responds.
func ask(n *testns.NS, to string, timeout time.Duration) (string, error) {
	c, err := n.Dial("tcp", to, timeout)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func wantAnswer(t testing.TB, n *testns.NS, to, want string) {
	t.Helper()
	if got, err := ask(n, to, timeout); err != nil || got != want {
		t.Errorf("%s: got response %q, %v; want %q", to, got, err, want)
	}
}

// request returns a request for `-p` arguments of the form [IP@][HOST[-END]:]PORT[-END][/PROTO].
func request(name, v4, v6 string, args ...string) *natv1.PublishRequest {
	req := &natv1.PublishRequest{Owner: owner(name), OwnerName: name, Ipv4Address: v4, Ipv6Address: v6}
	for _, arg := range args {
		m := &natv1.PortMapping{Protocol: natv1.Protocol_PROTOCOL_TCP}
		if ip, rest, ok := strings.Cut(arg, "@"); ok {
			m.HostIp, arg = ip, rest
		}
		if rest, proto, ok := strings.Cut(arg, "/"); ok {
			arg, m.Protocol = rest, natv1.Protocol(natv1.Protocol_value["PROTOCOL_"+strings.ToUpper(proto)])
		}
		if host, rest, ok := strings.Cut(arg, ":"); ok {
			arg = rest
			m.HostPort, m.HostPortEnd = span(host)
		}
		m.ContainerPort, m.ContainerPortEnd = span(arg)
		req.Mappings = append(req.Mappings, m)
	}

	return req
}

func span(s string) (first, end uint32) {
	a, b, _ := strings.Cut(s, "-")
	x, _ := strconv.ParseUint(a, 10, 32)
	y, _ := strconv.ParseUint(b, 10, 32)
	return uint32(x), uint32(y)
}

// owner returns a container ID for a name.
func owner(name string) string { return fmt.Sprintf("%0*x", id.Len, name) }

// publish publishes ports and returns the bindings as text.
func publish(r *running, req *natv1.PublishRequest) (string, error) {
	resp, err := r.Publish(context.Background(), req)
	if err != nil {
		return "", err
	}
	var out []string
	for _, b := range resp.GetBindings() {
		proto := strings.ToLower(strings.TrimPrefix(b.GetProtocol().String(), "PROTOCOL_"))
		out = append(out, fmt.Sprintf("%s>%s/%s", net.JoinHostPort(b.GetHostIp(), fmt.Sprint(b.GetHostPort())),
			net.JoinHostPort(b.GetContainerIp(), fmt.Sprint(b.GetContainerPort())), proto))
	}
	return strings.Join(out, " "), nil
}

func mustPublish(t testing.TB, r *running, req *natv1.PublishRequest) string {
	t.Helper()
	got, err := publish(r, req)
	if err != nil {
		t.Fatalf("publish for %s: %v", req.GetOwnerName(), err)
	}
	return got
}

func release(t testing.TB, r *running, name string) {
	t.Helper()
	if _, err := r.Release(context.Background(), &natv1.ReleaseRequest{Owner: owner(name)}); err != nil {
		t.Fatalf("release %s: %v", name, err)
	}
}

// leftovers lists map elements, port sockets and conntrack entries of published ports. Conntrack
// entries are deleted asynchronously, so it waits until there are none, or for a timeout.
func leftovers(n *testns.NS) (left string) {
	for start := time.Now(); time.Since(start) < timeout/4; time.Sleep(10 * time.Millisecond) {
		if left = leftNow(n); left == "" {
			break
		}
	}
	return left
}

func leftNow(n *testns.NS) string {
	var left []string
	for line := range strings.Lines(n.Run("nft", "list", "table", "inet", "fairlead")) {
		if strings.Contains(line, " : ") && !strings.HasPrefix(strings.TrimSpace(line), "type ") {
			left = append(left, line)
		}
	}
	left = append(left, n.Run("ss", "-Hltun"))
	flows, _ := n.Try("sh", "-c", "conntrack -L --dst-nat 2>/dev/null")
	return strings.TrimSpace(strings.Join(append(left, flows), "\n"))
}

// wantFault checks kind, reason and parts of the message.
func wantFault(t testing.TB, err error, kind fault.Kind, reason string, says ...string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.ReasonOf(err) != reason {
		t.Errorf("err = %v (kind %d, reason %q), want kind %d, reason %q", err, fault.KindOf(err), fault.ReasonOf(err),
			kind, reason)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("err = %q, want it to contain %q", err, s)
		}
	}
}
