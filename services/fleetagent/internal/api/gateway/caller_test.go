package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/mirror"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

const (
	fleetID = "00112233445566778899aabbccddeeff"
	hostID  = "0123456789abcdef"
)

// TestCallers: a host is known on its connection also after the certificate of that connection has expired: it
// uses its renewed one with the next. A person has no rights in the store.
func TestCallers(t *testing.T) {
	keys := record.ForFleet("", fleetID)
	m := mirror.New(mirror.Config{Keys: keys, Fleet: fleetID, Host: hostID, Log: slog.New(slog.DiscardHandler),
		Now: time.Now, Reached: func(error) {}, Emit: func(string, map[string]string) {}})
	data, err := record.Encode(&fleetv1.Host{Id: hostID, Name: "one", Address: "10.0.0.1",
		Role: fleetv1.HostRole_HOST_ROLE_MEMBER})
	if err != nil {
		t.Fatal(err)
	}
	m.Reset([]etcd.Value{{Key: keys.Host(hostID), Data: data, Revision: 1}}, etcd.Position{Cluster: 1, Revision: 1})
	s := &server{Config: Config{Fleet: fleetID, Keys: keys, Mirror: m}}

	old := time.Now().Add(-3 * pki.HostLife)
	authority, err := pki.NewAuthority(fleetID, old)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := pki.NewAuthority("ff"+fleetID[2:], old)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		authority pki.Authority
		who       pki.Identity
		allowed   bool
	}{
		{authority, pki.Identity{Fleet: fleetID, Role: pki.Member, Host: hostID}, true},
		{authority, pki.Identity{Fleet: fleetID, Role: pki.Operator, Host: "anna"}, false},
		{foreign, pki.Identity{Fleet: "ff" + fleetID[2:], Role: pki.Member, Host: hostID}, false},
	} {
		_, cert, err := c.authority.Issue(c.who, netip.MustParseAddr("10.0.0.1"), pki.HostLife, old)
		if err != nil {
			t.Fatal(err)
		}
		ctx := peer.NewContext(context.Background(), &peer.Peer{AuthInfo: credentials.TLSInfo{
			State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}}})
		r, err := s.caller(ctx)
		if (err == nil) != c.allowed || err != nil && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: got error %v", c.who, err)
		}
		if err == nil && (r.mayWrite([]byte(keys.Settings()), nil) || !r.mayWrite([]byte(keys.Info(hostID)), nil)) {
			t.Errorf("%s: got rights %+v", c.who, r)
		}
	}
	if _, err := s.caller(context.Background()); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a connection: got error %v", err)
	}
}
