package dnssockets_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/netagent/internal/dnssockets"
	"github.com/fairlead/fairlead/services/netagent/internal/endpoint"
)

const timeout = time.Minute

// fixture is a serving Keeper with its sandboxes.
type fixture struct {
	*dnssockets.Keeper
	t      testing.TB
	socket string
	stop   func()
	mu     sync.Mutex
	at     map[string]string // owner -> namespace
}

func (f *fixture) Get(owner string) (endpoint.Sandbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, ok := f.at[owner]
	if !ok {
		return endpoint.Sandbox{}, fault.NotFoundf("sandbox of "+id.Short(owner), "not found")
	}
	return endpoint.Sandbox{Owner: owner, NetnsPath: path}, nil
}

func (f *fixture) put(owner, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at[owner] = path
}

func start(t testing.TB) *fixture {
	testns.NeedRoot(t)
	f := &fixture{t: t, socket: filepath.Join(t.TempDir(), "fd.sock"), at: map[string]string{}}
	f.serve()
	return f
}

// serve runs a new Keeper until the test ends or stop is called.
func (f *fixture) serve() {
	k := dnssockets.New(f, slog.New(slog.DiscardHandler))
	f.Keeper = k
	at, err := fdpass.Listen(f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); k.Serve(ctx, at) }()
	f.stop = sync.OnceFunc(func() { cancel(); <-ended })
	f.t.Cleanup(f.stop)
}

// resolver is a test resolver on the sockets.
type resolver struct {
	udp net.PacketConn
	tcp net.Listener
}

func (f *fixture) resolver(owner string) resolver {
	f.t.Helper()
	files, err := fdpass.Fetch(f.t.Context(), f.socket, fdpass.Request{Kind: "resolver", Owner: owner})
	if err != nil || len(files) != 2 {
		f.t.Fatalf("%d files, %v", len(files), err)
	}
	udp, err := net.FilePacketConn(files[0])
	if err != nil {
		f.t.Fatal(err)
	}
	tcp, err := net.FileListener(files[1])
	if err != nil {
		f.t.Fatal(err)
	}
	for _, file := range files {
		_ = file.Close()
	}
	r := resolver{udp, tcp}
	f.t.Cleanup(r.close)
	return r
}

func (r resolver) close() {
	_ = r.udp.Close()
	_ = r.tcp.Close()
}

// answer responds to each query with a word, until the sockets are closed.
func (r resolver) answer(word string) {
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := r.udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = r.udp.WriteTo([]byte(word+" "+string(buf[:n])), from)
		}
	}()
	go func() {
		for {
			conn, err := r.tcp.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 512)
			n, _ := conn.Read(buf)
			_, _ = conn.Write([]byte(strings.Repeat(word+" "+string(buf[:n]), 1000)))
			_ = conn.Close()
		}
	}()
}

// ask sends a query to port 53 of an address.
func ask(t testing.TB, ns *testns.NS, protocol, address string) (string, error) {
	t.Helper()
	conn, err := ns.Dial(protocol, address+":53", timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write([]byte("who?")); err != nil {
		return "", err
	}
	if protocol == "tcp" {
		data, err := io.ReadAll(conn)
		return string(data), err
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func (f *fixture) container() (string, *testns.NS) {
	owner, ns := id.New(), testns.New(f.t)
	f.put(owner, ns.Path())
	return owner, ns
}

func expect(t *testing.T, ns *testns.NS, address, word string) {
	t.Helper()
	for protocol, want := range map[string]string{"udp": word + " who?", "tcp": strings.Repeat(word+" who?", 1000)} {
		if got, err := ask(t, ns, protocol, address); got != want || err != nil {
			t.Errorf("%s to %s: %d bytes %.30q, %v; want %q", protocol, address, len(got), got, err, word+" who?")
		}
	}
}

func TestPort53IsRedirectedAndStaysFree(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	own := resolver{ns.ListenPacket("udp4", "0.0.0.0:53"), ns.Listen("tcp4", "0.0.0.0:53")}
	own.answer("own")
	f.resolver(owner).answer("resolver")
	expect(t, ns, "127.0.0.11", "resolver")
	expect(t, ns, "127.0.0.1", "own")
}

func TestQueriesAreNotTracked(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	// enables tracking
	ns.Run("nft",
		"add table ip t; add chain ip t o { type nat hook output priority -100; }; "+
			"add rule ip t o ct state new counter")
	f.resolver(owner).answer("resolver")
	expect(t, ns, "127.0.0.11", "resolver")
	if got := ns.Run("nft", "list chain ip t o"); !strings.Contains(got, "packets 0 ") {
		t.Errorf("tracked:\n%s", got)
	}
}

func TestQueriesWaitForNextDnsagent(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	f.resolver(owner).close() // a first dnsagent that has exited
	type result struct {
		got string
		err error
	}
	answers := make(chan result, 2)
	for _, protocol := range []string{"udp", "tcp"} {
		go func() {
			got, err := ask(t, ns, protocol, "127.0.0.11")
			answers <- result{got, err}
		}()
	}
	f.resolver(owner).answer("next")
	for range 2 {
		if r := <-answers; r.err != nil || !strings.HasPrefix(r.got, "next who?") {
			t.Errorf("%.30q, %v", r.got, r.err)
		}
	}
}

func TestNewSocketsReplaceRulesAfterRestart(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	f.resolver(owner).close()
	f.stop()
	f.serve()
	f.resolver(owner).answer("again")
	expect(t, ns, "127.0.0.11", "again")
	if got := ns.Run("nft", "list table ip fairlead-dns"); strings.Count(got, "udp dport 53") != 1 {
		t.Errorf("duplicate rules:\n%s", got)
	}
}

func TestQueriesTimeOutWithoutResolver(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	f.resolver(owner).close()
	f.Forget(owner)
	conn, err := ns.Dial("udp", "127.0.0.11:53", timeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = conn.Write([]byte("who?"))
	if _, err := conn.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("got %v, want timeout", err)
	}
	if _, err := ns.Dial("tcp", "127.0.0.11:53", 100*time.Millisecond); !os.IsTimeout(err) {
		t.Errorf("TCP: got %v, want timeout", err)
	}
	if _, err := ns.Dial("tcp", "127.0.0.12:53", timeout); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("other port: got %v, want connection refused", err)
	}
	connected := make(chan error, 1)
	go func() {
		conn, err := ns.Dial("tcp", "127.0.0.11:53", timeout)
		if err == nil {
			_ = conn.Close()
		}
		connected <- err
	}()
	f.resolver(owner).answer("next") // the kernel repeats the connect
	if err := <-connected; err != nil {
		t.Errorf("connection started without a resolver: %v", err)
	}
}

func TestNewNamespaceGetsNewSockets(t *testing.T) {
	f := start(t)
	owner, _ := f.container()
	f.resolver(owner).answer("old")
	again := testns.New(t)
	f.put(owner, again.Path())
	f.resolver(owner).answer("new")
	expect(t, again, "127.0.0.11", "new")
}

func TestForgetClosesSockets(t *testing.T) {
	f := start(t)
	owner, _ := f.container()
	before := openSockets(t)
	r := f.resolver(owner)
	var handed []string // sockets open in both the keeper and the resolver, after fd passing has closed its copies
	for deadline := time.Now().Add(60 * time.Second); len(handed) != 2 &&
		time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		handed = nil
		for socket, holders := range openSockets(t) {
			if before[socket] == 0 && holders == 2 {
				handed = append(handed, socket)
			}
		}
	}
	if len(handed) != 2 {
		t.Fatalf("got sockets %v, want one UDP and one TCP", handed)
	}
	r.close()
	for range 2 {
		if _, err := fdpass.Fetch(t.Context(), f.socket, fdpass.Request{Kind: "forget", Owner: owner}); err != nil {
			t.Fatal(err)
		}
	}
	after := openSockets(t)
	for _, socket := range handed {
		if after[socket] != 0 {
			t.Errorf("socket %s has %d open descriptors, want 0", socket, after[socket])
		}
	}
}

// openSockets counts the descriptors of each socket in this process.
func openSockets(t *testing.T) map[string]int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	sockets := map[string]int{}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			sockets[to]++
		}
	}
	return sockets
}

func TestUpstreamSocketIsInNamespace(t *testing.T) {
	f := start(t)
	owner, ns := f.container()
	server := ns.ListenPacket("udp4", "127.0.0.7:53")
	for _, what := range []string{"udp4", "tcp4", "udp6", "tcp6"} {
		files, err := fdpass.Fetch(t.Context(), f.socket, fdpass.Request{Kind: what, Owner: owner})
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %d files, %v", what, len(files), err)
		}
		if what == "udp4" {
			to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 7}, Port: 53}
			if err := unix.Sendto(int(files[0].Fd()), []byte("from inside"), 0, to); err != nil {
				t.Fatal(err)
			}
		}
		_ = files[0].Close()
	}
	_ = server.SetDeadline(time.Now().Add(timeout))
	buf := make([]byte, 512)
	if n, _, err := server.ReadFrom(buf); string(buf[:n]) != "from inside" || err != nil {
		t.Errorf("server in the namespace received %q, %v", buf[:n], err)
	}
}

func TestRequestFaults(t *testing.T) {
	f := start(t)
	owner, _ := f.container()
	gone, hosts := id.New(), id.New()
	f.put(gone, filepath.Join(t.TempDir(), "gone"))
	f.put(hosts, "")
	for _, c := range []struct {
		what, owner string
		want        fault.Kind
	}{
		{"resolver", id.New(), fault.NotFound}, {"resolver", gone, fault.NotFound}, {"resolver", hosts, fault.Invalid},
		{"udp4", id.New(), fault.NotFound}, {"udp4", gone, fault.NotFound}, {"raw", owner, fault.Invalid}, {"",
			owner, fault.Invalid},
	} {
		if files, err := fdpass.Fetch(t.Context(), f.socket,
			fdpass.Request{Kind: c.what, Owner: c.owner}); !fault.Is(err, c.want) {
			t.Errorf("%q: %v, %v; want kind %d", c.what, files, err, c.want)
		}
	}
}

// BenchmarkOpen measures the part of a launch that opens sockets.
func BenchmarkOpen(b *testing.B) {
	f := start(b)
	for b.Loop() {
		b.StopTimer()
		owner, _ := f.container()
		b.StartTimer()
		f.resolver(owner).close()
	}
}

// BenchmarkOutgoing measures the extra cost of an upstream query from a container's network.
func BenchmarkOutgoing(b *testing.B) {
	f := start(b)
	owner, _ := f.container()
	for b.Loop() {
		files, err := fdpass.Fetch(b.Context(), f.socket, fdpass.Request{Kind: "udp4", Owner: owner})
		if err != nil {
			b.Fatal(err)
		}
		_ = files[0].Close()
	}
}
