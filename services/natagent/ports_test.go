package natagent_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

func TestPublishForms(t *testing.T) {
	r, n := fresh(t)
	n.Run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40100")
	n.Run("ip", "addr", "add", "192.168.8.115/24", "dev", "lo")
	for _, row := range []struct{ arg, want string }{
		{"80", "0.0.0.0:40000>10.0.0.2:80/tcp"},
		{"8888:80", "0.0.0.0:8888>10.0.0.2:80/tcp"},
		{"192.168.8.115@80", "192.168.8.115:40001>10.0.0.2:80/tcp"}, // 40000 is allocated on all addresses
		{"192.168.8.115@8889:80", "192.168.8.115:8889>10.0.0.2:80/tcp"},
		{"80/udp", "0.0.0.0:40000>10.0.0.2:80/udp"},
		{"7000-7002:80-82", "0.0.0.0:7000>10.0.0.2:80/tcp 0.0.0.0:7001>10.0.0.2:81/tcp 0.0.0.0:7002>10.0.0.2:82/tcp"},
		{"8888-8890:80", "0.0.0.0:8890>10.0.0.2:80/tcp"}, // 8888 is allocated, 8889 on one address
		{"80-81", "0.0.0.0:40002>10.0.0.2:80/tcp 0.0.0.0:40003>10.0.0.2:81/tcp"},
	} {
		if got := mustPublish(t, r, request(row.arg, "10.0.0.2", "", row.arg)); got != row.want {
			t.Errorf("-p %s: %s, want %s", row.arg, got, row.want)
		}
	}
}

func TestEphemeralPortsAreNextFit(t *testing.T) {
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
	take("b", "40002") // a process uses 40001
	release(t, r, "a")
	take("c", "40004") // 40003 is reserved; 40000 is free, but comes later
	take("d", "40005")
	take("e", "40000") // wrapped
	_, err := publish(r, request("f", "10.0.0.2", "fd00::2", "80"))
	wantFault(t, err, fault.Exhausted, "", "all ports are allocated")
	release(t, r, "d")
	take("g", "40005")
}

func TestConflictNamesHolder(t *testing.T) {
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
		{"127.0.0.1@8080:80", fault.Busy, fault.ReasonPortAllocated,
			"Bind for 127.0.0.1:8080 failed: port is already allocated"},
		{"8081:80", fault.Busy, fault.ReasonAddressInUse,
			"failed to bind host port 0.0.0.0:8081/tcp: address already in use (held by natagent.test, pid "},
		{"203.0.113.5@80:80", fault.Invalid, "",
			"failed to bind host port 203.0.113.5:80/tcp: cannot assign requested address"},
		{"8080-8081:80", fault.Exhausted, "", "all ports are allocated"},
	} {
		_, err := publish(r, request("second", "10.0.0.3", "", "9000:90", row.arg))
		wantFault(t, err, row.kind, row.reason, row.says)
		if got := mustPublish(t, r, request("third", "10.0.0.3", "", "9000:90")); got == "" {
			t.Error("got no error")
		} // port 9000 was released on error
		release(t, r, "third")
	}

	mustPublish(t, r, request("udp", "10.0.0.3", "", "8080:80/udp", "8081:80/udp")) // another protocol, no conflict
}

func TestSCTPPublishedOrRejected(t *testing.T) {
	r, _ := fresh(t)
	got, err := publish(r, request("a", "10.0.0.2", "", "8080:80/sctp"))
	if err != nil {
		wantFault(t, err, fault.Invalid, "", "port 0.0.0.0:8080/sctp", "kernel does not support sctp")
		return
	}
	if got != "0.0.0.0:8080>10.0.0.2:80/sctp" {
		t.Errorf("bindings %s", got)
	}
}

func TestPublishIdempotent(t *testing.T) {
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
		"invalid owner":                {bad, `"web" is not a container ID`},
		"address with a prefix length": {address, `"10.0.0.2/24" is not a valid container address`},
		"port 0":                       {request("a", "10.0.0.2", "", "8080:80", "8081:0"), "invalid containerPort: 0"},
		"port 70000": {request("a", "10.0.0.2", "", "8080:80", "70000:80"),
			"invalid hostPort: 70000"},
		"ranges of different lengths": {request("a", "10.0.0.2", "", "8080:80", "8000-8002:80-81"),
			"invalid ranges specified for container and host Ports: 80-81 and 8000-8002"},
		"no host address": {request("a", "10.0.0.2", "", "8080:80", "1.2.3@81:80"),
			"invalid IP address: 1.2.3"},
		"no protocol": {request("a", "10.0.0.2", "", "8080:80", "81:80/foo"), "invalid proto"},
		"one host port for two ports": {request("a", "10.0.0.2", "", "8080:80", "8080:81"),
			"host port 8080/tcp is requested twice"},
		"container without address": {request("a", "", "", "8080:80"), "has no address"},
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
