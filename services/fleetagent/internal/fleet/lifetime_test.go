package fleet

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
)

// Connections that are kept survive the renewal of the certificates with which they were made.
func TestConnectionsOutliveCertificates(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	one, two := newHost(t, 1), newHost(t, 2)
	for _, h := range []*host{one, two} {
		h.stop()
		h.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		h.start()
	}
	two.join(one.found())
	one.await("host1 alive, host2 alive")
	_, err := one.create(1, "app", "10.78.0.0/24")
	must0(t, err)
	use := func(when, block string) {
		t.Helper()
		_, claimed := two.claim(1, "10.78.0.0/24", block) // member to manager
		conn, err := one.Node(context.Background(), "host2")
		must0(t, err)
		_, commanded := fleetv1.NewFleetServiceClient(conn).GetFleet(context.Background(), &fleetv1.GetFleetRequest{})
		if err := errors.Join(claimed, commanded); err != nil {
			t.Errorf("%s: got error %v", when, err)
		}
	}

	use("first", "10.78.0.9/32")
	later.Store(int64(13 * time.Hour))
	for _, h := range []*host{one, two} {
		p, err := h.current()
		must0(t, err)
		must0(t, p.renewCertificate(context.Background()))
	}
	use("after renewal", "10.78.0.10/32")
	later.Store(int64(25 * time.Hour))
	use("after the first certificates have expired", "10.78.0.11/32")
}
