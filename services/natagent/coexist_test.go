package natagent_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/test/testns"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/iptables"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nftables"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// othersRules creates rules as of Docker, libvirt, ufw and administrators, in nf_tables and both
// flavors of iptables.
const othersRules = `
	for v in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do
		$v -N LIBVIRT_FWI; $v -I FORWARD -o virbr0 -j LIBVIRT_FWI; $v -A LIBVIRT_FWI -o virbr0 -j REJECT
		$v -N ufw-user-input; $v -A INPUT -p tcp --dport 22 -j ufw-user-input; $v -A ufw-user-input -j ACCEPT
		$v -t nat -N DOCKER; $v -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
		$v -t nat -A DOCKER -i docker9 -j RETURN
		$v -t raw -A PREROUTING -p udp --dport 9 -j DROP
	done
	nft 'add table inet firewalld; add chain inet firewalld in { type filter hook input priority 10; };
		add rule inet firewalld in tcp dport 23 drop'
	ip link add virbr0 type bridge; ip link set virbr0 up`

var counters = regexp.MustCompile(`(?m)^#.*\n?|\[\d+:\d+\]|counter packets \d+ bytes \d+`)

// outside lists the foreign rules, sysctls and links of a host.
func outside(n *testns.NS) string {
	var out []string
	rules := n.Run("sh", "-ec", "for v in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do echo == "+
		"$v; $v-save 2>/dev/null; done; nft list table inet firewalld")

	for line := range strings.Lines(counters.ReplaceAllString(rules, "")) {
		if !strings.Contains(line, "FAIRLEAD") {
			out = append(out, line)
		}
	}

	out = append(out, "\n", n.Run("sh", "-c", `
		nft list tables | grep -v 'inet fairlead$'
		sysctl -a 2>/dev/null | grep '^net' | grep -v nf_conntrack_count
		ip -o link; ip -4 route show table all; ip rule`))

	return strings.Join(out, "")
}

func TestForeignRulesAreUnchanged(t *testing.T) {
	for _, backend := range []string{natagent.BackendNFTables, natagent.BackendIPTables} {
		t.Run(backend, func(t *testing.T) {
			s := newSite(t)
			s.host.Run("sh", "-ec", othersRules)
			before := outside(s.host)
			r := startWith(t, s.host, t.TempDir(), backend, io.Discard)
			s.guard(t, r)
			for i := range 100 {
				mustPublish(t, r, request(fmt.Sprint(i), "10.10.1.2", "fd10:1::2", fmt.Sprintf("%d:80", 20000+i)))
			}
			same(t, "with 100 ports published", before, outside(s.host))
			for i := range 100 {
				release(t, r, fmt.Sprint(i))
			}
			if _, err := r.DeleteNetwork(context.Background(),
				&natv1.DeleteNetworkRequest{Id: networkID(0)}); err != nil {
				t.Fatal(err)
			}
			r.stop()
			same(t, "with nothing published", before, outside(s.host))
			ns := hostns.At(s.host.Fd())
			if err := nftables.Remove(context.Background(), ns); err != nil {
				t.Error(err)
			}
			if err := iptables.Remove(context.Background(), ns, ""); err != nil {
				t.Error(err)
			}
			same(t, "after all was removed", before, outside(s.host))
			if inNFTables(s.host) || inIPTables(s.host) {
				t.Error("rules of Fairlead are left")
			}
		})
	}
}

func same(t *testing.T, when, before, after string) {
	t.Helper()
	if before == after {
		return
	}

	was := strings.Split(before, "\n")
	for _, line := range strings.Split(after, "\n") {
		if !slices.Contains(was, line) {
			t.Errorf("%s: unexpected: %s", when, line)
		}
	}

	now := strings.Split(after, "\n")
	for _, line := range was {
		if !slices.Contains(now, line) {
			t.Errorf("%s: missing: %s", when, line)
		}
	}

	t.Errorf("%s: order changed", when)
}

func TestFlushKeepsOwnedTable(t *testing.T) {
	s := newSite(t)
	if f, err := nftables.Probe(context.Background(), hostns.At(s.host.Fd())); err != nil || !f.Owner {
		if os.Getenv("CI") != "" {
			t.Fatal("kernel does not support table owners")
		}
		t.Skip("needs table owners (Linux 6.9)")
	}

	r := startWith(t, s.host, t.TempDir(), natagent.BackendNFTables, io.Discard)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
	stop := traffic(s.ext, "10.1.0.1:8080")
	for range 10 {
		s.host.Run("sh", "-ec", "iptables -F; iptables -t nat -F; iptables -X; iptables-legacy -F; iptables-legacy "+
			"-t nat -F; nft flush ruleset")
	}

	if asked, failed := stop(); len(failed) > 0 || asked < 10 {
		t.Errorf("%d of %d connections failed: %v", len(failed), asked, failed)
	}
}

func TestXtablesLockDoesNotDelayPublish(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", lock) // separate from the host's
	s := newSite(t)
	s.host.Run("iptables-legacy", "-P", "FORWARD", "DROP") // so that natagent runs iptables
	r := startWith(t, s.host, t.TempDir(), natagent.BackendNFTables, io.Discard)
	s.guard(t, r)
	f, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := s.host.Try("iptables-legacy", "-w", "1", "-S"); err == nil {
		t.Fatal("iptables ignores the lock")
	}

	start := time.Now()
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80"))
	release(t, r, "a")
	if took := time.Since(start); took > 5*time.Second { // natagent waits 5 s for the lock
		t.Errorf("publish took %v", took)
	}
}

func TestPublishBlockedPortIsReported(t *testing.T) {
	s := newSite(t)
	s.host.Run("sh", "-ec", "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -p tcp --dport 8080 -j ACCEPT")
	log, entries := io.Pipe()
	defer func() { _ = entries.Close() }()
	logged := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "blocked in the host firewall") {
				logged <- lines.Text()
			}
		}
	}()

	r := startWith(t, s.host, t.TempDir(), natagent.BackendNFTables, entries)
	s.guard(t, r)
	mustPublish(t, r, request("a", "10.10.1.2", "", "8080:80", "8081:80", "127.0.0.1@8082:80"))
	select {
	case line := <-logged:
		if !strings.Contains(line, "port 0.0.0.0:8081/tcp") || !strings.Contains(line, "ip filter INPUT") {
			t.Errorf("log: %s", line)
		}
	case <-time.After(timeout):
		t.Error("no log entry")
	}

	select {
	case line := <-logged:
		t.Errorf("unexpected log entry: %s", line)
	case <-time.After(500 * time.Millisecond):
	}
}
