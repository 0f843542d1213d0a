package server

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func registerAll(r grpc.ServiceRegistrar) {
	agentv1.RegisterConfigServiceServer(r, agentv1.UnimplementedConfigServiceServer{})
	containerv1.RegisterContainerServiceServer(r, containerv1.UnimplementedContainerServiceServer{})
	containerv1.RegisterImageServiceServer(r, containerv1.UnimplementedImageServiceServer{})
	dnsv1.RegisterNameServiceServer(r, dnsv1.UnimplementedNameServiceServer{})
	hostv1.RegisterHostServiceServer(r, hostv1.UnimplementedHostServiceServer{})
	natv1.RegisterFirewallServiceServer(r, natv1.UnimplementedFirewallServiceServer{})
	natv1.RegisterPublicationServiceServer(r, natv1.UnimplementedPublicationServiceServer{})
	networkv1.RegisterNetworkServiceServer(r, networkv1.UnimplementedNetworkServiceServer{})
	networkv1.RegisterSandboxServiceServer(r, networkv1.UnimplementedSandboxServiceServer{})
}

func TestRolesMatchMethods(t *testing.T) {
	s := New(Config{Name: "test"}, registerAll)
	table := roles()
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			if _, ok := table[name]; !ok {
				t.Errorf("method %s has no role", name)
			}
			delete(table, name)
		}
	}

	for name := range table {
		t.Errorf("role of %s: method does not exist", name)
	}
}

func TestAuthorizeByIdentityAndAudience(t *testing.T) {
	const otherUser = 12345
	root := identity{local: &unix.Ucred{}}
	self := identity{local: &unix.Ucred{Uid: uint32(os.Geteuid())}}
	member := identity{local: &unix.Ucred{Uid: otherUser}, member: true}
	other := identity{local: &unix.Ucred{Uid: otherUser}}
	named := identity{certificate: "CN=me", remote: "192.0.2.1:1"}
	open := identity{remote: "127.0.0.1:1"}
	read, change := "/fairlead.network.v1.NetworkService/ListNetworks",
		"/fairlead.network.v1.SandboxService/CreateSandbox"
	for _, c := range []struct {
		name   string
		who    identity
		peers  [2]bool // read, change
		admins [2]bool
	}{
		{"root", root, [2]bool{true, true}, [2]bool{true, false}},
		{"user of the agent", self, [2]bool{true, true}, [2]bool{true, false}},
		{"group member", member, [2]bool{false, false}, [2]bool{true, false}},
		{"other user", other, [2]bool{false, false}, [2]bool{false, false}},
		{"client with a certificate", named, [2]bool{false, false}, [2]bool{true, false}},
		{"accepted TCP client", open, [2]bool{false, false}, [2]bool{true, false}},
		{"unknown client", identity{}, [2]bool{false, false}, [2]bool{false, false}},
	} {
		for i, method := range []string{read, change} {
			for audience, want := range map[Audience]bool{Peers: c.peers[i], Admins: c.admins[i]} {
				err := authorize(roles(), audience, c.who, method)
				if (err == nil) != want {
					t.Errorf("%s, %s, audience %d: got error %v", c.name, method, audience, err)
				}
				expected := refusal()
				if method == change && audience == Admins && c.admins[0] {
					expected = internal(method) // the hint to use root does not help root
				}
				if err != nil && (!fault.Is(err, fault.Denied) || err.Error() != expected.Error()) {
					t.Errorf("%s: got %v, want %v", c.name, err, expected)
				}
			}
		}
	}
	if authorize(roles(), Peers, root, "/fairlead.network.v1.NetworkService/Unknown") == nil {
		t.Error("got a method without a role allowed, want it denied")
	}
}

func TestAdminServicesListReadableServices(t *testing.T) {
	got := AdminServices("fairlead.n")
	want := []string{"fairlead.nat.v1.FirewallService", "fairlead.nat.v1.PublicationService",
		"fairlead.network.v1.NetworkService", "fairlead.network.v1.SandboxService"}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
