package dnsagent_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/fdpass"
	"github.com/fairlead/fairlead/proto/fault"
)

// keeper opens and keeps sockets of resolvers as netagent does, on this process's loopback.
type keeper struct {
	t    *testing.T
	stop func()

	mu      sync.Mutex
	kept    map[string][2]int // owner to UDP and TCP
	outside int               // rejected requests for upstream sockets
}

func (m *machine) keeper(t *testing.T) *keeper {
	t.Helper()
	m.write("host/etc/resolv.conf", "nameserver 127.9.0.54\n") // unused address, which fails immediately
	if err := os.MkdirAll(m.path("exec"), 0o755); err != nil {
		t.Fatal(err)
	}

	l, err := fdpass.Listen(m.path("exec/net-fd.sock"))
	if err != nil {
		t.Fatal(err)
	}

	k := &keeper{t: t, kept: map[string][2]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fdpass.Serve(ctx, l, k.give) }()
	k.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for owner := range k.kept {
			k.forget(owner)
		}
	})

	t.Cleanup(k.stop)
	return k
}

func (k *keeper) give(_ context.Context, r fdpass.Request) ([]int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()

	switch r.Kind {
	case "forget":
		k.forget(r.Owner)
		return nil, nil
	case "resolver":
		pair, ok := k.kept[r.Owner]
		if !ok {
			pair = [2]int{k.open(unix.SOCK_DGRAM), k.open(unix.SOCK_STREAM)}
			k.kept[r.Owner] = pair
		}
		udp, err := unix.Dup(pair[0])
		if err != nil {
			return nil, err
		}
		tcp, err := unix.Dup(pair[1])
		return []int{udp, tcp}, err
	}

	k.outside++
	return nil, fault.NotFoundf("sandbox", "unknown socket type")
}

func (k *keeper) askedOutside() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.outside > 0
}

func (k *keeper) open(kind int) int {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		k.t.Error(err)
	}
	return fd
}

func (k *keeper) forget(owner string) {
	for _, fd := range k.kept[owner] {
		_ = unix.Close(fd)
	}
	delete(k.kept, owner)
}

func (k *keeper) has(owner string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.kept[owner]
	return ok
}

// ask returns the IPv4 addresses of a name from a container's resolver, for example
// "10.0.0.2 10.0.0.3", or the response code if there are none.
func (k *keeper) ask(network, owner, name string) string {
	k.t.Helper()
	return askAt(network, k.address(network, owner), name)
}

func askAt(network, address, name string) string {
	client := &dns.Client{Net: network, Timeout: time.Minute}
	m, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), address)
	if err != nil {
		return err.Error()
	}

	var got []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			got = append(got, a.A.String())
		}
	}

	if len(got) == 0 {
		return dns.RcodeToString[m.Rcode]
	}

	return strings.Join(got, " ")
}
