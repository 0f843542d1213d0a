package auth

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/fairlead/fairlead/proto/fault"
	authv1 "github.com/fairlead/fairlead/proto/gen/fairlead/auth/v1"
)

// recorder is a connection that records the client of its last call.
type recorder struct {
	calls  int
	client string
}

func (r *recorder) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	r.note(ctx)
	return nil
}

func (r *recorder) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string,
	_ ...grpc.CallOption) (grpc.ClientStream, error) {
	r.note(ctx)
	return nil, nil
}

func (r *recorder) note(ctx context.Context) {
	md, _ := metadata.FromOutgoingContext(ctx)
	r.calls++
	r.client = ""
	if all := md.Get(ClientHeader); len(all) == 1 {
		r.client = all[0]
	}
}

func TestOnBehalfAuthorizesTheClient(t *testing.T) {
	const forAdmins, forServices = "/fairlead.x.v1.S/Get", "/fairlead.x.v1.S/Create"
	roles := Roles{forAdmins: authv1.Role_ROLE_ADMINISTRATOR, forServices: authv1.Role_ROLE_SERVICE}
	root, user := Identity{local: &unix.Ucred{Uid: 0, Pid: 7}}, Identity{local: &unix.Ucred{Uid: 1234}}
	for _, c := range []struct {
		name, method string
		ctx          context.Context
		allowed      bool
	}{
		{"root", forAdmins, WithClient(t.Context(), root), true},
		{"root calls a method of services", forServices, WithClient(t.Context(), root), false},
		{"root calls an unknown method", "/fairlead.x.v1.S/Other", WithClient(t.Context(), root), false},
		{"user", forAdmins, WithClient(t.Context(), user), false},
		{"group", forAdmins, WithClient(t.Context(), Identity{local: &unix.Ucred{Uid: 1234}, member: true}), true},
		{"certificate", forAdmins, WithClient(t.Context(), Identity{certificate: "CN=x"}), true},
		{"unknown TCP client", forAdmins, WithClient(t.Context(), Identity{remote: "1.2.3.4:5", unknown: true}), false},
		{"no client", forAdmins, t.Context(), false},
		{"health", "/grpc.health.v1.Health/Watch", t.Context(), true},
	} {
		r := &recorder{}
		conn := roles.OnBehalf(r)
		err := conn.Invoke(c.ctx, c.method, nil, nil)
		_, serr := conn.NewStream(c.ctx, nil, c.method)
		if (err == nil) != c.allowed || (serr == nil) != c.allowed || (r.calls == 2) != c.allowed {
			t.Errorf("%s: got %v, %v after %d calls, want allowed %v", c.name, err, serr, r.calls, c.allowed)
		}
		if !c.allowed && !fault.Is(err, fault.Denied) {
			t.Errorf("%s: got %v, want a refusal", c.name, err)
		}
	}

	r := &recorder{}
	if err := roles.OnBehalf(r).Invoke(WithClient(t.Context(), root), forAdmins, nil, nil); err != nil ||
		r.client != "uid=0 gid=0 pid=7" {
		t.Errorf("got client %q, %v", r.client, err)
	}
}

func TestNamedClient(t *testing.T) {
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(ClientHeader, "uid=1"))
	if got := NamedClient(ctx); got != "uid=1" {
		t.Errorf("got %q", got)
	}
	if got := NamedClient(t.Context()); got != "" {
		t.Errorf("without metadata: got %q", got)
	}
}
