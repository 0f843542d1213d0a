package publish_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/publication"
)

// asks returns a publication of the numbered owner.
func asks(owner int, name string, mappings []port.Mapping,
	addresses ...port.Address) *publication.Publication {
	return &publication.Publication{Owner: fmt.Sprintf("%064x", owner), OwnerName: name,
		IPv4:     netip.MustParseAddr("10.0.0.2"),
		Mappings: mappings, Addresses: addresses}
}

func ports(hostIP string, first, last uint16) []port.Mapping {
	r := port.Range{First: first, Last: last}
	return []port.Mapping{{Protocol: port.UDP, HostIP: address(hostIP), Host: r, Container: r}}
}

// address parses an address; empty means none.
func address(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

func TestLongRangeBindsNoSocket(t *testing.T) {
	p, k, st := setUp(t)
	got, err := p.Publish(context.Background(), asks(1, "phone", ports("", 10000, 60000)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Host.First != 10000 || got[0].Host.Last != 60000 || len(k.bound) != 0 {
		t.Errorf("got %+v and %d sockets", got, len(k.bound))
	}
	if err := p.Release(context.Background(), fmt.Sprintf("%064x", 1)); err != nil {
		t.Fatal(err)
	}

	nothing(t, k, st)
	if _, err := p.Publish(context.Background(), asks(2, "other", ports("", 20000, 20000))); err != nil {
		t.Errorf("publish a port of a released range: %v", err)
	}
}

func TestConflictNamesContainer(t *testing.T) {
	whole := func(ip string) port.Address { return port.Address{HostIP: address(ip)} }
	for _, row := range []struct {
		name         string
		first, asked *publication.Publication
		want         string // part of the error; empty: no error
	}{
		{"port within a range", asks(1, "phone", ports("", 10000, 60000)),
			asks(2, "b", ports("10.1.0.1", 30000, 30000)),
			"Bind for 10.1.0.1:30000 failed: port is already allocated (held by container phone)"},
		{"range with an allocated port", asks(1, "phone", ports("10.1.0.1", 30000, 30000)),
			asks(2, "b", ports("", 10000, 60000)),
			"Bind for 0.0.0.0:30000 failed: port is already allocated (held by container phone)"},
		{"overlapping ranges", asks(1, "phone", ports("", 10000, 20000)), asks(2, "b", ports("", 20000, 30000)),
			"Bind for 0.0.0.0:20000 failed: port is already allocated (held by container phone)"},
		{"adjacent ranges", asks(1, "phone", ports("", 10000, 20000)), asks(2, "b", ports("", 20001, 30000)), ""},
		{"equal ranges of two addresses", asks(1, "phone", ports("10.1.0.1", 10000, 20000)),
			asks(2, "b", ports("10.1.0.2", 10000, 20000)), ""},
		{"an address twice", asks(1, "mail", nil, whole("10.1.0.1")), asks(2, "b", nil, whole("10.1.0.1")),
			"address 10.1.0.1: is already published, at least partly (held by container mail)"},
		{"a port of an address", asks(1, "mail", nil, whole("10.1.0.1")), asks(2, "b", ports("10.1.0.1", 80, 80)),
			"Bind for 10.1.0.1:80 failed: port is already allocated (held by container mail)"},
		{"a range of an address", asks(1, "mail", nil, whole("10.1.0.1")), asks(2, "b", ports("10.1.0.1", 1000, 2000)),
			"Bind for 10.1.0.1:1000 failed: port is already allocated (held by container mail)"},
		{"an address with a port", asks(1, "mail", ports("10.1.0.1", 80, 80)), asks(2, "b", nil, whole("10.1.0.1")),
			"held by container mail"},
		{"an address with a range", asks(1, "mail", ports("10.1.0.1", 1000, 2000)),
			asks(2, "b", nil, whole("10.1.0.1")),
			"held by container mail"},
		{"a port of all addresses, a published address", asks(1, "mail", nil, whole("10.1.0.1")),
			asks(2, "b", ports("", 80, 80)), ""},
		{"a published address, a port of all addresses", asks(1, "mail", ports("", 80, 80)),
			asks(2, "b", nil, whole("10.1.0.1")),
			""},
		{"an address and a port of it for one container", asks(1, "mail", ports("10.1.0.1", 80, 80), whole("10.1.0.1")),
			asks(2, "b", nil), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, _, _ := setUp(t)
			if _, err := p.Publish(context.Background(), row.first); err != nil {
				t.Fatal(err)
			}
			_, err := p.Publish(context.Background(), row.asked)
			if row.want == "" && err != nil || row.want != "" &&
				(!fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if err == nil {
				return
			}
			if err := p.Release(context.Background(), row.first.Owner); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Publish(context.Background(), row.asked); err != nil {
				t.Errorf("after the first was released: %v", err)
			}
		})
	}
}

func TestRangeWithPortInUseIsRejected(t *testing.T) {
	p, k, st := setUp(t)
	k.listens = 40000
	_, err := p.Publish(context.Background(), asks(1, "phone", ports("", 10000, 60000)))
	if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(),
		"0.0.0.0:40000/udp: address already in use (held by nginx, pid 123)") {
		t.Errorf("got %v", err)
	}
	nothing(t, k, st)
}

func TestUnassignedAddressIsRejected(t *testing.T) {
	p, k, st := setUp(t)
	k.failHold["10.9.9.9:0/udp"] = syscall.EADDRNOTAVAIL
	_, err := p.Publish(context.Background(), asks(1, "mail", ports("", 1000, 2000),
		port.Address{HostIP: address("10.9.9.9")}))

	if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(),
		"address 10.9.9.9: is not assigned to this host; ") {
		t.Errorf("got %v", err)
	}

	nothing(t, k, st)
	if _, err := p.Publish(context.Background(), asks(2, "other", ports("", 1500, 1500))); err != nil {
		t.Errorf("publish a port after the rollback: %v", err)
	}
}
