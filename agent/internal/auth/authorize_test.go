package auth

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

func TestAuthorizeByIdentityAndAudience(t *testing.T) {
	table, err := RolesOf(ServicesOf("fairlead.network.v1"))
	if err != nil {
		t.Fatal(err)
	}
	const otherUser = 12345
	root := Identity{local: &unix.Ucred{}}
	self := Identity{local: &unix.Ucred{Uid: uint32(os.Geteuid())}}
	member := Identity{local: &unix.Ucred{Uid: otherUser}, member: true}
	other := Identity{local: &unix.Ucred{Uid: otherUser}}
	named := Identity{certificate: "CN=me", remote: "192.0.2.1:1"}
	open := Identity{remote: "127.0.0.1:1"}
	read, change := "/fairlead.network.v1.NetworkService/ListNetworks",
		"/fairlead.network.v1.SandboxService/CreateSandbox"
	for _, c := range []struct {
		name   string
		who    Identity
		peers  [2]bool // read, change
		admins [2]bool
	}{
		{"root", root, [2]bool{true, true}, [2]bool{true, false}},
		{"user of the agent", self, [2]bool{true, true}, [2]bool{true, false}},
		{"group member", member, [2]bool{false, false}, [2]bool{true, false}},
		{"other user", other, [2]bool{false, false}, [2]bool{false, false}},
		{"client with a certificate", named, [2]bool{false, false}, [2]bool{true, false}},
		{"accepted TCP client", open, [2]bool{false, false}, [2]bool{true, false}},
		{"unknown client", Identity{}, [2]bool{false, false}, [2]bool{false, false}},
	} {
		for i, method := range []string{read, change} {
			for audience, want := range map[Audience]bool{Peers: c.peers[i], Admins: c.admins[i]} {
				err := table.Authorize(audience, c.who, method)
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
	if table.Authorize(Peers, root, "/fairlead.network.v1.NetworkService/Unknown") == nil {
		t.Error("got a method without a role allowed, want it denied")
	}
}
