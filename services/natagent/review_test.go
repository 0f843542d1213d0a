package natagent_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent"
)

// shut is a host firewall that accepts port 8080, and 9001 from one network.
const shut = `table inet mine { chain in { type filter hook input priority 0; policy drop; tcp dport 8080 accept; ip saddr 192.168.8.0/24 tcp dport 9001 accept; }; }`

func reviewed(ip string, port uint32, from ...string) *natv1.PortBinding {
	return &natv1.PortBinding{Protocol: natv1.Protocol_PROTOCOL_TCP, HostIp: ip, HostPort: port,
		ContainerIp: "172.17.0.2", ContainerPort: 80, AllowedSources: from}
}

func TestReviewNamesBlockedPorts(t *testing.T) {
	s, n := fresh(t)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	all := []*natv1.PortBinding{reviewed("0.0.0.0", 9000), reviewed("::", 9000), reviewed("0.0.0.0", 8080),
		reviewed("127.0.0.1", 9002),
		reviewed("0.0.0.0", 9001, "192.168.8.0/24"), reviewed("0.0.0.0", 9001),
		{Protocol: natv1.Protocol_PROTOCOL_ALL, HostIp: "10.0.0.1"}}

	if resp, err := s.CheckHostFirewall(ctx, &natv1.CheckHostFirewallRequest{Bindings: all}); err != nil ||
		len(resp.GetWarnings()) != 0 {
		t.Errorf("without a firewall: %v, %v", resp, err)
	}

	n.Run("nft", shut)
	resp, err := s.CheckHostFirewall(ctx, &natv1.CheckHostFirewallRequest{Bindings: all})
	if err != nil {
		t.Fatal(err)
	}

	var subjects []string
	for _, w := range resp.GetWarnings() {
		subject, text, _ := strings.Cut(w, ": ")
		subjects = append(subjects, subject)
		if !strings.HasPrefix(text, "blocked in the host firewall by the policy of inet mine in; ") {
			t.Errorf("%q", w)
		}
	}

	if want := []string{"port 0.0.0.0:9000/tcp", "port [::]:9000/tcp", "port 0.0.0.0:9001/tcp"}; !slices.Equal(subjects,
		want) {
		t.Errorf("got blocked %q, want %q", subjects, want)
	}
}

func TestConcurrentReviews(t *testing.T) {
	s, n := fresh(t)
	n.Run("nft", shut)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var wg sync.WaitGroup
	for i := range uint32(50) {
		wg.Go(func() {
			resp, err := s.CheckHostFirewall(ctx,
				&natv1.CheckHostFirewallRequest{Bindings: []*natv1.PortBinding{reviewed("0.0.0.0", 8080+i%2)}})
			if err != nil || len(resp.GetWarnings()) != int(i%2) {
				t.Errorf("port %d: %v, %v", 8080+i%2, resp, err)
			}
		})
	}

	wg.Wait()
}

func TestReviewWithoutBlockedPortsIsEmpty(t *testing.T) {
	n := testns.New(t)
	n.Run("nft", shut)
	for _, said := range []string{"allow", "refuse"} {
		s, err := natagent.New(context.Background(), natagent.Config{DataRoot: t.TempDir(),
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), NetNS: n.Fd(), PublishBlocked: said})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rpcsOf(s).CheckHostFirewall(context.Background(),
			&natv1.CheckHostFirewallRequest{Bindings: []*natv1.PortBinding{reviewed("0.0.0.0", 9000)}})
		if err != nil || len(resp.GetWarnings()) != 0 {
			t.Errorf("publish-blocked %s: %v, %v", said, resp, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReviewRejectsInvalid(t *testing.T) {
	s, _ := fresh(t)
	for _, b := range []*natv1.PortBinding{reviewed("x", 80), reviewed("0.0.0.0", 70000), reviewed("0.0.0.0", 80, "x"),
		{HostIp: "0.0.0.0", HostPort: 1, HostPortEnd: 65536}} {
		if _, err := s.CheckHostFirewall(context.Background(),
			&natv1.CheckHostFirewallRequest{Bindings: []*natv1.PortBinding{b}}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", b, err)
		}
	}
}
