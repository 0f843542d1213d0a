package natagent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/fault"
	"github.com/fairlead/fairlead/agent/testns"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func TestAPublishedPortLeadsToItsContainerAndLeavesNothing(t *testing.T) {
	s := newSite(t)
	s.host.Run("nft", "add table ip others; add chain ip others c { type filter hook input priority 0; }; add rule ip others c tcp dport 1 drop")
	others := s.host.Run("nft", "list", "table", "ip", "others")
	r := start(t, s.host, t.TempDir(), io.Discard)
	s.guard(t, r)
	if got := leftovers(s.host); got != "" {
		t.Fatalf("before anything was published:\n%s", got)
	}
	got := mustPublish(t, r, request("a", "10.10.1.2", "fd10:1::2", "8080:80", "10.1.0.1@9090:80", "127.0.0.1@9191:80"))
	want := "0.0.0.0:8080>10.10.1.2:80/tcp 10.1.0.1:9090>10.10.1.2:80/tcp 127.0.0.1:9191>10.10.1.2:80/tcp [::]:8080>[fd10:1::2]:80/tcp"
	if !sameWords(got, want) {
		t.Errorf("bindings %s, want %s", got, want)
	}
	wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
	wantAnswer(t, s.ext, "10.1.0.1:9090", "a")
	wantAnswer(t, s.ext, "[fd01::1]:8080", "a")
	wantAnswer(t, s.host, "127.0.0.1:8080", "a")
	wantAnswer(t, s.host, "127.0.0.1:9191", "a")
	wantAnswer(t, s.b, "10.1.0.1:8080", "a")
	for range 2 { // asked again, it is still gone
		release(t, r, "a")
	}
	if _, err := ask(s.ext, "10.1.0.1:8080", time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the release: %v, want connection refused", err)
	}
	if got := leftovers(s.host); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
	if now := s.host.Run("nft", "list", "table", "ip", "others"); now != others {
		t.Errorf("somebody else's table was changed:\n%s", now)
	}
}

func sameWords(a, b string) bool {
	count := map[string]int{}
	for _, w := range strings.Fields(a) {
		count[w]++
	}
	for _, w := range strings.Fields(b) {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestAContainerWithoutIPv6IsNotPublishedOnIPv6(t *testing.T) {
	s := newSite(t)
	r := start(t, s.host, t.TempDir(), io.Discard)
	s.guard(t, r)
	if got := mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80")); got != "0.0.0.0:8080>10.10.1.2:80/tcp" {
		t.Errorf("bindings %s", got)
	}
	if _, err := ask(s.ext, "[fd01::1]:8080", 2*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("on IPv6: %v, want connection refused at once", err)
	}
	_, err := publish(r, request("b", "10.10.1.3", "", "::1@8081:80"))
	wantFault(t, err, fault.Invalid, "", "[::1]:8081:80/tcp", "no IPv6 address")
}

func TestTheFourFormsOfPublish(t *testing.T) {
	r, n := fresh(t)
	n.Run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40100")
	n.Run("ip", "addr", "add", "192.168.8.115/24", "dev", "lo")
	for _, row := range []struct{ arg, want string }{
		{"80", "0.0.0.0:40000>10.0.0.2:80/tcp"},
		{"8888:80", "0.0.0.0:8888>10.0.0.2:80/tcp"},
		{"192.168.8.115@80", "192.168.8.115:40001>10.0.0.2:80/tcp"}, // 40000 is taken on all addresses
		{"192.168.8.115@8889:80", "192.168.8.115:8889>10.0.0.2:80/tcp"},
		{"80/udp", "0.0.0.0:40000>10.0.0.2:80/udp"},
		{"7000-7002:80-82", "0.0.0.0:7000>10.0.0.2:80/tcp 0.0.0.0:7001>10.0.0.2:81/tcp 0.0.0.0:7002>10.0.0.2:82/tcp"},
		{"8888-8890:80", "0.0.0.0:8890>10.0.0.2:80/tcp"}, // 8888 is taken, 8889 on one address
		{"80-81", "0.0.0.0:40002>10.0.0.2:80/tcp 0.0.0.0:40003>10.0.0.2:81/tcp"},
	} {
		if got := mustPublish(t, r, request(row.arg, "10.0.0.2", "", row.arg)); got != row.want {
			t.Errorf("-p %s: %s, want %s", row.arg, got, row.want)
		}
	}
}

func TestDynamicPortsAreNextFitInTheHostsRange(t *testing.T) {
	r, n := fresh(t)
	n.Run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40005", "net.ipv4.ip_local_reserved_ports=40003")
	n.Listen("tcp4", "127.0.0.1:40001")
	take := func(name, want string) {
		t.Helper()
		got := mustPublish(t, r, request(name, "10.0.0.2", "fd00::2", "80"))
		if all := fmt.Sprintf("0.0.0.0:%s>10.0.0.2:80/tcp [::]:%s>[fd00::2]:80/tcp", want, want); got != all {
			t.Errorf("%s: %s, want %s", name, got, all)
		}
	}
	take("a", "40000")
	take("b", "40002") // 40001 is a program's
	release(t, r, "a")
	take("c", "40004") // 40003 is reserved; 40000 is free, but behind
	take("d", "40005")
	take("e", "40000") // once around
	_, err := publish(r, request("f", "10.0.0.2", "fd00::2", "80"))
	wantFault(t, err, fault.Exhausted, "", "all ports are allocated")
	release(t, r, "d")
	take("g", "40005")
}

func TestConflictsSayWhoHoldsThePort(t *testing.T) {
	r, n := fresh(t)
	mustPublish(t, r, request("web", "10.0.0.2", "", "8080:80"))
	n.Listen("tcp4", "127.0.0.1:8081")
	for _, row := range []struct {
		arg    string
		kind   fault.Kind
		reason string
		says   string
	}{
		{"8080:80", fault.Busy, fault.ReasonPortAllocated,
			"port 0.0.0.0:8080/tcp: Bind for 0.0.0.0:8080 failed: port is already allocated (held by container web)"},
		{"127.0.0.1@8080:80", fault.Busy, fault.ReasonPortAllocated, "Bind for 127.0.0.1:8080 failed: port is already allocated"},
		{"8081:80", fault.Busy, fault.ReasonAddressInUse,
			"failed to bind host port 0.0.0.0:8081/tcp: address already in use (held by natagent.test, pid "},
		{"203.0.113.5@80:80", fault.Invalid, "", "failed to bind host port 203.0.113.5:80/tcp: cannot assign requested address"},
		{"8080-8081:80", fault.Exhausted, "", "all ports are allocated"},
	} {
		_, err := publish(r, request("second", "10.0.0.3", "", "9000:90", row.arg))
		wantFault(t, err, row.kind, row.reason, row.says)
		if got := mustPublish(t, r, request("third", "10.0.0.3", "", "9000:90")); got == "" {
			t.Error("nothing published")
		} // a failure has left port 9000 free
		release(t, r, "third")
	}
	mustPublish(t, r, request("udp", "10.0.0.3", "", "8080:80/udp", "8081:80/udp")) // another protocol, no conflict
}

func TestSCTPIsPublishedOrRefusedWithTheReason(t *testing.T) {
	r, _ := fresh(t)
	got, err := publish(r, request("a", "10.0.0.2", "", "8080:80/sctp"))
	if err != nil {
		wantFault(t, err, fault.Invalid, "", "port 0.0.0.0:8080/sctp", "the kernel has no sctp")
		return
	}
	if got != "0.0.0.0:8080>10.0.0.2:80/sctp" {
		t.Errorf("bindings %s", got)
	}
}

func TestPublishingAgainAnswersTheSame(t *testing.T) {
	r, n := fresh(t)
	first := mustPublish(t, r, request("a", "10.0.0.2", "", "80", "8080:81"))
	before := n.Run("nft", "-a", "list", "ruleset")
	if again := mustPublish(t, r, request("a", "10.0.0.2", "", "80", "8080:81")); again != first {
		t.Errorf("again: %s, first: %s", again, first)
	}
	if after := n.Run("nft", "-a", "list", "ruleset"); after != before {
		t.Error("the firewall was changed")
	}
	for _, other := range []*natv1.PublishRequest{
		request("a", "10.0.0.2", "", "80"), request("a", "10.0.0.3", "", "80", "8080:81"), request("a", "10.0.0.2", ""),
	} {
		_, err := publish(r, other)
		wantFault(t, err, fault.Exists, "", "container a")
	}
	list, err := r.ListPublications(context.Background(), &natv1.ListPublicationsRequest{})
	if err != nil || len(list.GetPublications()) != 1 || len(list.GetPublications()[0].GetBindings()) != 2 {
		t.Errorf("list: %v, %v", list, err)
	}
}

func TestBadRequestsAreRefusedWhole(t *testing.T) {
	r, n := fresh(t)
	before := n.Run("nft", "-a", "list", "ruleset")
	bad := request("a", "10.0.0.2", "", "8080:80")
	bad.Owner = "web"
	address := request("a", "10.0.0.2/24", "", "8080:80")
	for name, row := range map[string]struct {
		req  *natv1.PublishRequest
		says string
	}{
		"an owner that is no UID":   {bad, `owner "web"`},
		"an address with a length":  {address, `"10.0.0.2/24" is not a container's address`},
		"port 0":                    {request("a", "10.0.0.2", "", "8080:80", "8081:0"), "invalid containerPort: 0"},
		"port 70000":                {request("a", "10.0.0.2", "", "8080:80", "70000:80"), "invalid hostPort: 70000"},
		"ranges of other lengths":   {request("a", "10.0.0.2", "", "8080:80", "8000-8002:80-81"), "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"},
		"no host address":           {request("a", "10.0.0.2", "", "8080:80", "1.2.3@81:80"), "invalid IP address: 1.2.3"},
		"no protocol":               {request("a", "10.0.0.2", "", "8080:80", "81:80/foo"), "invalid proto"},
		"one port for two":          {request("a", "10.0.0.2", "", "8080:80", "8080:81"), "host port 8080/tcp is asked for twice"},
		"a container that has none": {request("a", "", "", "8080:80"), "has no address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := publish(r, row.req)
			wantFault(t, err, fault.Invalid, "", row.says)
		})
	}
	if after := n.Run("nft", "-a", "list", "ruleset"); after != before {
		t.Error("the firewall was changed")
	}
	if left := leftovers(n); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestAUDPClientThatKeepsTalkingReachesTheNewContainer(t *testing.T) {
	s := newSite(t)
	r := start(t, s.host, t.TempDir(), io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "53:5000/udp"))
	c, err := s.ext.Dial("udp", "10.1.0.1:53", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got := talk(c, 2*time.Second); got != "a" {
		t.Fatalf("at first %q answered", got)
	}
	release(t, r, "a")
	if got := talk(c, 100*time.Millisecond); got != "" { // makes an entry for the host itself
		t.Errorf("after the release %q answered", got)
	}
	mustPublish(t, r, request("b", "10.10.1.3", "", "53:5000/udp"))
	if got := talk(c, 2*time.Second); got != "b" {
		t.Errorf("after the move %q answered", got)
	}
}

// talk sends until somebody answers, or for a time.
func talk(c interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}, patience time.Duration) string {
	buf := make([]byte, 8)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, _ = c.Write([]byte("?")) // an ICMP error of the last one shows here
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(buf); err == nil {
			return string(buf[:n])
		}
	}
	return ""
}

func TestManyAtOnceAllSucceedAndLeaveNothing(t *testing.T) {
	r, n := fresh(t)
	var wg sync.WaitGroup
	seen := sync.Map{}
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprintf("c%d", i)
			got, err := publish(r, request(name, "10.0.0.2", "fd00::2", "80", "81/udp", fmt.Sprintf("%d:82", 5000+i)))
			if err != nil {
				t.Error(err)
			}
			if other, twice := seen.LoadOrStore(strings.Fields(got)[0], name); twice {
				t.Errorf("%s and %s both got %s", name, other, got)
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		wg.Go(func() {
			if _, err := r.Release(context.Background(), &natv1.ReleaseRequest{Owner: owner(fmt.Sprintf("c%d", i))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := leftovers(n); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestNetworksArePutOnceAndTakenOut(t *testing.T) {
	r, n := fresh(t)
	ctx := context.Background()
	put := func(i int, bridge string, subnets ...string) error {
		_, err := r.PutNetwork(ctx, &natv1.PutNetworkRequest{Network: &natv1.GuardedNetwork{Id: networkID(i), Bridge: bridge,
			Subnets: subnets, Masquerade: true, InterContainer: true}})
		return err
	}
	empty := n.Run("nft", "list", "ruleset")
	for _, err := range []error{put(1, "brA", "10.1.0.0/16", "fd00::/64"), put(2, "brB", "10.2.0.0/16"), put(3, "brC", "10.0.0.0/16")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	full := n.Run("nft", "-a", "list", "ruleset")
	if err := put(1, "brA", "fd00::/64", "10.1.0.0/16"); err != nil {
		t.Error(err)
	}
	if after := n.Run("nft", "-a", "list", "ruleset"); after != full {
		t.Error("putting the same again changed the firewall")
	}
	wantFault(t, put(4, "brA", "10.4.0.0/16"), fault.Exists, "", "bridge brA")
	wantFault(t, put(4, "brD", "10.2.3.0/24"), fault.Exists, "", "10.2.3.0/24 overlaps 10.2.0.0/16")
	wantFault(t, put(4, "brD", "10.4.1.0/16"), fault.Invalid, "", "it should be 10.4.0.0/16")
	wantFault(t, put(4, "a-name-that-is-too-long", "10.4.0.0/16"), fault.Invalid, "", "no device's name")
	list, err := r.ListNetworks(ctx, &natv1.ListNetworksRequest{})
	if err != nil || len(list.GetNetworks()) != 3 {
		t.Errorf("list: %v, %v", list, err)
	}
	for _, i := range []int{2, 1, 3, 1} {
		if _, err := r.DeleteNetwork(ctx, &natv1.DeleteNetworkRequest{Id: networkID(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if after := n.Run("nft", "list", "ruleset"); after != empty {
		t.Errorf("not as before:\n%s", after)
	}
}

func TestAForeignDropPolicyDoesNotStopTraffic(t *testing.T) {
	s := newSite(t)
	s.host.Run("iptables", "-P", "FORWARD", "DROP")
	r := start(t, s.host, t.TempDir(), io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
	wantAnswer(t, s.ext, "10.1.0.1:8080", "a")
	if _, err := ask(s.ext, "10.10.1.2:80", 300*time.Millisecond); err == nil {
		t.Error("direct access got through")
	}
	if _, err := r.DeleteNetwork(context.Background(), &natv1.DeleteNetworkRequest{Id: networkID(0)}); err != nil {
		t.Fatal(err)
	}
	if rules := s.host.Run("iptables", "-S"); strings.Contains(rules, "brA") {
		t.Errorf("left behind:\n%s", rules)
	}
}

func TestASecondNatagentIsRefused(t *testing.T) {
	n := testns.New(t)
	root := t.TempDir()
	start(t, n, root, io.Discard)
	var log bytes.Buffer
	if _, err := newService(n, root, &log); !fault.Is(err, fault.Busy) {
		t.Errorf("on the same state: %v, want a Busy fault", err)
	}
	second, err := newService(n, t.TempDir(), &log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if err := second.Run(context.Background(), func() { t.Error("ready") }); !fault.Is(err, fault.Busy) {
		t.Errorf("on the same namespace: %v, want a Busy fault", err)
	}
}
