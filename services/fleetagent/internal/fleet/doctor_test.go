package fleet

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/faultrpc"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
)

// findings returns the findings of a host, one line each, without those that are fine.
func (h *host) findings() string {
	h.t.Helper()
	found, err := h.Diagnose(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, f := range found {
		if f.GetSeverity() != hostv1.Severity_SEVERITY_OK {
			all = append(all, fmt.Sprint(f.GetArea(), " ", f.GetName(), ": ", f.GetMessage(), "; ", f.GetHint()))
		}
	}
	return strings.Join(all, "\n")
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	one.await("host1 alive, host2 alive")
	const single = "store voters: there is one"
	for _, h := range []*host{one, two} {
		if got := h.findings(); !strings.HasPrefix(got, single) || strings.Contains(got, "\n") {
			t.Errorf("%s: got findings %q, want only %q", h.name, got, single)
		}
	}

	two.stop()
	two.cfg.Now = func() time.Time { return time.Now().Add(-90 * time.Second) }
	two.start()
	one.await("host1 alive, host2 alive")
	if got := one.findings(); !strings.Contains(got, "hosts host2: its clock is -1m") {
		t.Errorf("clock: got findings %q", got)
	}
	p, err := one.current()
	if err != nil {
		t.Fatal(err)
	}
	manager, err := api.DialManager(netip.AddrPortFrom(netip.MustParseAddr(two.address), 7450), p.clientTLS("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if got, err := manager.Probe(context.Background(), []uint16{7450, 9}); err != nil ||
		!slices.Equal(got.Closed, []uint16{9}) {
		t.Errorf("probe: got closed ports %v, error %v, want 9", got.Closed, err)
	}

	two.stop()
	if got := one.findings(); !strings.Contains(got, "hosts host2: does not answer at "+two.address+":7450") ||
		!strings.Contains(got, "open it in the firewall of that host: ") {
		t.Errorf("lost host: got findings %q", got)
	}
	two.start()
	one.stop()
	if err := one.store().Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := two.findings(); !strings.Contains(got, "store members: store: cannot be reached") {
		t.Errorf("lost store: got findings %q", got)
	}
	one.start()
	one.await("host1 alive, host2 alive")
}

// commandAs calls a method of a host with the certificate of a person.
func commandAs(t *testing.T, on *host, files *fleetv1.CreateCertificateResponse) error {
	t.Helper()
	cert, err := tls.X509KeyPair(files.GetCertificate(), files.GetKey())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.DecodeCert(files.GetCa(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	nodes := api.NewNodes()
	defer nodes.Close()
	conn, err := nodes.Conn(api.Target{ID: on.name, Name: on.name, Address: netip.AddrPortFrom(
		netip.MustParseAddr(on.address), 7450),
		TLS: pki.ClientConfig(ca, func() *tls.Certificate { return &cert }, pki.Expected{}, time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = fleetv1.NewFleetServiceClient(conn).GetFleet(context.Background(), &fleetv1.GetFleetRequest{})
	return faultrpc.FromStatus(err)
}

func TestPersonsCommandThroughManagers(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	one.await("host1 alive, host2 alive")
	ctx := context.Background()
	if _, err := two.CreateCertificate(ctx, "anna", time.Hour); fault.KindOf(err) != fault.Denied {
		t.Errorf("a member issues a certificate: got error %v", err)
	}
	for name, valid := range map[string]time.Duration{"Anna": time.Hour, "a/b": time.Hour, "anna": time.Second,
		"berta": 9000 * time.Hour} {
		if _, err := one.CreateCertificate(ctx, name, valid); fault.KindOf(err) != fault.Invalid {
			t.Errorf("certificate of %s for %s: got error %v", name, valid, err)
		}
	}

	first, err := one.CreateCertificate(ctx, "anna", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	awaitCommand(t, one, first, "")
	if err := commandAs(t, two, first); fault.KindOf(err) != fault.Denied ||
		!strings.Contains(err.Error(), "is not a manager, and accepts managers only") {
		t.Errorf("person on a member: got error %v", err)
	}
	second, err := one.CreateCertificate(ctx, "anna", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	awaitCommand(t, one, second, "")
	awaitCommand(t, one, first, "was revoked or replaced")
	if err := one.RevokeCertificate(ctx, "anna"); err != nil {
		t.Fatal(err)
	}
	awaitCommand(t, one, second, "was revoked or replaced")
	if err := one.RevokeCertificate(ctx, "anna"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("revoked twice: got error %v", err)
	}
}

// awaitCommand waits until a command of a person succeeds, or fails with a text.
func awaitCommand(t *testing.T, on *host, files *fleetv1.CreateCertificateResponse, want string) {
	t.Helper()
	var err error
	if eventually(func() bool {
		err = commandAs(t, on, files)
		return want == "" && err == nil || want != "" && err != nil && strings.Contains(err.Error(), want)
	}) {
		return
	}
	t.Fatalf("got error %v, want %q", err, want)
}
