package dnsagent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent"
)

var _ service.Service = (*dnsagent.Service)(nil)

func TestRegisterAndRelease(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	owner := id.New()
	req := scenario7(owner)
	req.ExtraHosts = []*dnsv1.ExtraHost{{Name: "qq.com", Address: "2.2.2.2"}, {Name: "host.docker.internal",
		Address: "host-gateway"}}
	req.HostGateways = []string{"172.17.0.1"}
	f := register(t, client, req)

	if f.GetHostname() != "docker.test.com" || f.GetOwner() != owner {
		t.Errorf("got %v", f)
	}

	if got := m.read(f.GetHostnamePath()); got != "docker.test.com\n" {
		t.Errorf("hostname: %q", got)
	}

	if got := m.read(f.GetResolvConfPath()); got != "search baidu.com\nnameserver 1.1.1.1\n" {
		t.Errorf("resolv.conf: %q", got)
	}

	if got := m.read(f.GetHostsPath()); !strings.HasSuffix(got,
		"ip6-allrouters\n2.2.2.2\tqq.com\n172.17.0.1\thost.docker.internal\n172.17.0.2\tdocker.test.com docker\n") {
		t.Errorf("hosts:\n%s", got)
	}

	if got := owners(t, client); !slices.Equal(got, []string{owner}) {
		t.Errorf("owners: %v", got)
	}

	for range 2 {
		if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: owner}); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := os.Stat(filepath.Dir(f.GetHostsPath())); !os.IsNotExist(err) {
		t.Errorf("directory still exists: %v", err)
	}

	if got := owners(t, client); len(got) != 0 {
		t.Errorf("owners: %v", got)
	}
}

func TestHostNetworkUsesHostFiles(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	f := register(t, client, &dnsv1.RegisterRequest{Owner: id.New(), FileSource: dnsv1.FileSource_FILE_SOURCE_HOST})
	if f.GetHostname() != "box" || m.read(f.GetHostnamePath()) != "box\n" {
		t.Errorf("hostname: %q", f.GetHostname())
	}
	if got := m.read(f.GetHostsPath()); got != m.read(m.path("host/etc/hosts")) {
		t.Errorf("hosts: %q", got)
	}
	if got := m.read(f.GetResolvConfPath()); got != m.read(m.path("host/etc/resolv.conf")) {
		t.Errorf("resolv.conf: %q", got)
	}
}

func TestRegisterIsIdempotent(t *testing.T) {
	m := newMachine(t)
	client, stop := m.start()
	owner := id.New()
	full := scenario7(owner) // with all stored fields
	full.Servers = []string{"fe80::1%eth0", "1.1.1.1"}
	full.Options = []string{"ndots:2"}
	full.ExtraHosts = []*dnsv1.ExtraHost{{Name: "gw", Address: "host-gateway"}, {Name: "db", Address: "2001:db8::1"}}
	full.HostGateways = []string{"172.17.0.1"}
	first := register(t, client, full)
	edited := "127.0.0.1 localhost # edited in the container\n"
	if err := os.WriteFile(first.GetHostsPath(), []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, restart := range []bool{false, true} {
		if restart {
			stop()
			client, _ = m.start()
		}
		if again := register(t, client, full); again.String() != first.String() {
			t.Errorf("restarted %v: got %v, then %v", restart, first, again)
		}
		if got := m.read(first.GetHostsPath()); got != edited {
			t.Errorf("restarted %v: edit of the container is lost: %q", restart, got)
		}
		other := scenario7(owner)
		other.Addresses = []string{"172.17.0.3"}
		if _, err := client.Register(t.Context(), other); !fault.Is(err, fault.Exists) {
			t.Errorf("restarted %v: other content: %v, want an Exists fault", restart, err)
		}
	}
}

func TestRestartReconcilesFiles(t *testing.T) {
	m := newMachine(t)
	client, stop := m.start()
	vanished, kept, damaged, orphan := id.New(), id.New(), id.New(), id.New()
	gone := register(t, client, scenario7(vanished))
	register(t, client, scenario7(kept))
	hole := register(t, client, scenario7(damaged))
	stop()
	if err := os.RemoveAll(filepath.Dir(gone.GetHostsPath())); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(hole.GetHostsPath()); err != nil {
		t.Fatal(err)
	}

	m.write("exec/dns/"+orphan+"/hosts", "incomplete")
	m.write("exec/dns/notes/mine", "unrelated")

	client, _ = m.start()
	want := []string{kept, damaged}
	slices.Sort(want)
	if got := owners(t, client); !slices.Equal(got, want) {
		t.Errorf("got owners %v, want %v", got, want)
	}

	if got := m.read(hole.GetHostsPath()); !strings.Contains(got, "docker.test.com docker\n") {
		t.Errorf("missing file: got %q", got)
	}

	if _, err := os.Stat(m.path("exec/dns/" + orphan)); !os.IsNotExist(err) {
		t.Errorf("orphan still exists: %v", err)
	}

	m.read(m.path("exec/dns/notes/mine"))
	other := scenario7(vanished)
	other.Addresses = []string{"172.17.0.9"}
	register(t, client, other) // the next start, with another address
}

func TestInvalidRequestsLeaveNoState(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	owner := id.New()
	for _, c := range []struct {
		change func(*dnsv1.RegisterRequest)
		want   string
	}{
		{func(r *dnsv1.RegisterRequest) { r.Owner = "web" }, `"web" is not a container ID`},
		{func(r *dnsv1.RegisterRequest) { r.Owner = "../" + owner[3:] }, "is not a container ID"},
		{func(r *dnsv1.RegisterRequest) { r.FileSource = dnsv1.FileSource_FILE_SOURCE_UNSPECIFIED },
			"source 0 is not valid"},
		{func(r *dnsv1.RegisterRequest) { r.FileSource = 7 }, "source 7 is not valid"},
		{func(r *dnsv1.RegisterRequest) { r.Hostname = strings.Repeat("a", 65) }, "is too long (maximum 64 bytes)"},
		{func(r *dnsv1.RegisterRequest) { r.Addresses = []string{"172.17.0.2/16"} }, `"172.17.0.2/16" is not an IP address`},
		{func(r *dnsv1.RegisterRequest) { r.HostGateways = []string{""} }, `"" is not an IP address`},
		{func(r *dnsv1.RegisterRequest) { r.ExtraHosts = []*dnsv1.ExtraHost{{Name: "foo"}} }, `bad format for add-host: "foo"`},
		{func(r *dnsv1.RegisterRequest) { r.ExtraHosts = []*dnsv1.ExtraHost{{Name: "foo", Address: "bar"}} }, `invalid IP address in add-host: "bar"`},
		{func(r *dnsv1.RegisterRequest) {
			r.ExtraHosts = []*dnsv1.ExtraHost{{Name: "foo", Address: "host-gateway"}}
		}, "unable to derive the IP value for host-gateway"},
		{func(r *dnsv1.RegisterRequest) {
			r.ExtraHosts = []*dnsv1.ExtraHost{{Name: "a\nb",
				Address: "1.1.1.1"}}
		}, "bad format for add-host"},
		{func(r *dnsv1.RegisterRequest) { r.Servers = []string{"foo"} }, "IP address is not correctly formatted: foo"},
		{func(r *dnsv1.RegisterRequest) { r.Servers = []string{"::1%a\nnameserver 6.6.6.6"} },
			"IP address is not correctly formatted"},
		{func(r *dnsv1.RegisterRequest) { r.Search = []string{"bad domain!"} }, "bad domain! is not a valid domain"},
		{func(r *dnsv1.RegisterRequest) { r.Options = []string{""} }, "is empty"},
	} {
		req := scenario7(owner)
		c.change(req)
		_, err := client.Register(t.Context(), req)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want an Invalid fault of one line with %q", err, c.want)
		}
	}
	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: ".."}); !fault.Is(err, fault.Invalid) {
		t.Errorf("release of ..: got %v, want an Invalid fault", err)
	}
	if entries, err := os.ReadDir(m.path("exec/dns")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if got := owners(t, client); len(got) != 0 {
		t.Errorf("owners: %v", got)
	}
}

func TestFailedRegistrationLeavesNoState(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	owner := id.New()
	m.write("exec/dns/"+owner+"/resolv.conf/in-the-way", "") // a directory at the path of the last file
	if _, err := client.Register(t.Context(), scenario7(owner)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want an Unavailable fault", err)
	}

	if _, err := os.Stat(m.path("exec/dns/" + owner)); !os.IsNotExist(err) {
		t.Errorf("directory still exists: %v", err)
	}

	if got := owners(t, client); len(got) != 0 {
		t.Errorf("owners: %v", got)
	}

	register(t, client, scenario7(owner))
}

func TestConcurrentRegistrations(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			req := scenario7(id.New())
			req.Hostname = fmt.Sprintf("c%d", i)
			resp, err := client.Register(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			if data, err := os.ReadFile(resp.GetFiles().GetHostnamePath()); err != nil ||
				string(data) != req.Hostname+"\n" {
				t.Errorf("hostname: %q, %v", data, err)
			}
			if i%2 == 0 {
				return
			}
			if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: req.Owner}); err != nil {
				t.Error(err)
			}
		})
	}

	all.Wait()
	directories, err := os.ReadDir(m.path("exec/dns"))
	if got := owners(t, client); err != nil || len(got) != 25 || len(directories) != 25 || !slices.IsSorted(got) {
		t.Errorf("%d owners, %d directories, %v", len(got), len(directories), err)
	}
}

func TestSecondAgentOnSameRootsFails(t *testing.T) {
	m := newMachine(t)
	m.start()
	if _, err := dnsagent.New(t.Context(), m.config()); !fault.Is(err, fault.Busy) {
		t.Errorf("got %v, want a Busy fault", err)
	}
}

func TestInvalidConfigurationFails(t *testing.T) {
	m := newMachine(t)
	for _, change := range []func(*dnsagent.Config){
		func(c *dnsagent.Config) { c.Search = []string{"a\nnameserver 6.6.6.6"} },
		func(c *dnsagent.Config) { c.Options = []string{"a b"} },
	} {
		cfg := m.config()
		change(&cfg)
		if _, err := dnsagent.New(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v, want an Invalid fault", err)
		}
	}

	if _, err := os.Stat(m.path("data")); !os.IsNotExist(err) {
		t.Errorf("state exists: %v", err)
	}
}

// BenchmarkRegister measures a registration: request, files on a tmpfs, commit on disk.
func BenchmarkRegister(b *testing.B) {
	m := newMachine(b)
	tmpfs, err := os.MkdirTemp("/dev/shm", "dnsagent")
	if err != nil {
		b.Skip("needs a tmpfs at /dev/shm: ", err)
	}

	b.Cleanup(func() { _ = os.RemoveAll(tmpfs) })
	if err := os.Symlink(tmpfs, m.path("exec")); err != nil {
		b.Fatal(err)
	}

	client, _ := m.start()
	for b.Loop() {
		if _, err := client.Register(b.Context(), scenario7(id.New())); err != nil {
			b.Fatal(err)
		}
	}
}
