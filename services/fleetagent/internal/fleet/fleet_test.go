package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	tokens "github.com/fairlead/fairlead/services/fleetagent/internal/token"
)

func TestHostsJoinAndLeave(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	token := one.found()
	if got, err := one.listed(); got != "host1 alive" {
		t.Errorf("after init: got %q, error %v", got, err)
	}
	two.join(token)
	if got, err := two.listed(); got != "host1 alive, host2 alive" {
		t.Errorf("after join: got %q, error %v", got, err)
	}
	three.join(one.token(1))
	for _, h := range []*host{one, two, three} {
		h.await("host1 alive, host2 alive, host3 alive")
	}

	if err := two.Leave(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	one.await("host1 alive, host3 alive")
	three.await("host1 alive, host3 alive")
	if _, err := two.Get(context.Background()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got error %v from a host that has left", err)
	}
	if _, err := os.Stat(two.cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("got files left in %s, error %v", two.cfg.Dir, err)
	}

	if err := one.Leave(context.Background(), false); err == nil || !strings.Contains(err.Error(), "only manager") {
		t.Errorf("got error %v for a manager of other hosts", err)
	}
	if err := three.Leave(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	one.await("host1 alive")
	if err := one.Leave(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if one.store().Running() || one.store().Exists() {
		t.Error("got a store left after the last host")
	}
	two.join(one.found()) // both can be part of a new fleet
	two.await("host1 alive, host2 alive")
}

func TestTokensAreUsedUp(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	token := one.found()
	two.join(token)
	_, _, _, err := three.Join(context.Background(), token, three.address, three.name)
	if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "has expired, was used") {
		t.Errorf("got error %v for a used token", err)
	}
	if _, err := os.Stat(three.cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("got files of a host that was refused: %v", err)
	}

	// The life of a token is that of its record. A minute is the least.
	ctx, short := context.Background(), one.token(1)
	p, err := one.current()
	must0(t, err)
	parsed, err := tokens.Parse(short)
	must0(t, err)
	key := p.keys.Token(tokens.Hash(parsed.Secret))
	value, found, err := p.client.Get(ctx, key)
	must0(t, err)
	if !found {
		t.Fatal("a token has no record")
	}
	_, err = p.client.Commit(ctx, nil, etcd.Delete(key))
	must0(t, err)
	_, err = p.client.PutFor(ctx, key, value.Data, time.Second)
	must0(t, err)
	if !eventually(func() bool {
		_, found, err := p.client.Get(ctx, key)
		return err == nil && !found
	}) {
		t.Error("a token does not expire")
	}
	_, _, _, err = three.Join(context.Background(), short, three.address, three.name)
	wants(t, err, fault.Denied, "has expired, was used")
	one.await("host1 alive, host2 alive")
}

func TestOneTokenAdmitsExactlyItsUses(t *testing.T) {
	t.Parallel()
	one := newHost(t, 1)
	one.found()
	token := one.token(2)
	others := []*host{newHost(t, 2), newHost(t, 3), newHost(t, 4)}
	results := make(chan error)
	for _, h := range others {
		go func() {
			_, _, _, err := h.Join(context.Background(), token, h.address, h.name)
			results <- err
		}()
	}
	admitted := 0
	for range others {
		if err := <-results; err == nil {
			admitted++
		} else if fault.KindOf(err) != fault.Denied {
			t.Errorf("got error %v", err)
		}
	}
	if admitted != 2 {
		t.Errorf("got %d hosts admitted by a token for 2", admitted)
	}
}

func TestBadJoinsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	one, two, three := newHost(t, 1), newHost(t, 2), newHost(t, 3)
	token := one.found()
	other := newHost(t, 4)
	foreign := other.found()
	two.join(token)
	good := one.token(5)
	for name, c := range map[string]struct {
		h                    *host
		token, address, host string
		want                 string
	}{
		"cut token":       {three, good[:30], "", "", "cut off or altered"},
		"used token":      {three, token, "", "", "was used"},
		"name taken":      {three, good, "", "host2", "the name is in use by the host with address " + two.address},
		"bad name":        {three, good, "", "No_Name", "is not 1 to 63 lower-case letters"},
		"foreign address": {three, good, "192.0.2.77", "", "is not an address of this host"},
		"loopback":        {three, good, "127.0.0.1", "", "cannot be reached by other hosts"},
		"joined twice":    {two, good, "", "", "is already part of fleet"},
		"manager":         {one, good, "", "", "is already part of fleet"},
		"two fleets":      {two, foreign, "", "", "is already part of fleet"},
	} {
		address, hostName := c.h.address, c.h.name
		if c.address != "" {
			address = c.address
		}
		if c.host != "" {
			hostName = c.host
		}
		_, _, _, err := c.h.Join(context.Background(), c.token, address, hostName)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
	one.await("host1 alive, host2 alive")
	three.join(good) // a failed attempt has used nothing up
	one.await("host1 alive, host2 alive, host3 alive")
}

func TestHostsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	one.found()
	_, err := one.create(1, "app", "10.77.0.0/24")
	must0(t, err)
	good := one.token(5)
	for name, c := range map[string]struct {
		skew time.Duration
		want string
	}{
		"an hour behind": {-time.Hour,
			": is not accepted: certificate of " + one.id() + ": is not valid yet: the local clock is behind by"},
		"minutes behind": {-3 * time.Minute, "its clock is 3m0s behind"},
		"an hour ahead":  {time.Hour, "its clock is 1h0m0s ahead"},
		"days ahead":     {48 * time.Hour, ": expired 24h0m"},
	} {
		two.stop()
		two.cfg.Now = func() time.Time { return time.Now().Add(c.skew) }
		two.start()
		_, _, _, err := two.Join(context.Background(), good, two.address, two.name)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "open TCP port") {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
	two.stop()
	two.cfg.Now = time.Now
	two.start()
	route := func(change string) {
		if out, err := exec.Command("ip", "route", change, "10.77.0.128/25", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	route("add")
	_, _, _, err = two.Join(context.Background(), good, two.address, two.name)
	if err == nil || !strings.Contains(err.Error(), "its route 10.77.0.128/25 overlaps network app (10.77.0.0/24)") {
		t.Errorf("overlap: got error %v", err)
	}
	route("del")
	if got, err := one.listed(); got != "host1 alive" {
		t.Errorf("after refusals: got %q, error %v", got, err)
	}
	if _, _, warnings, err := two.Join(context.Background(), good, two.address, two.name); err != nil ||
		len(warnings) > 0 {
		t.Errorf("a host that fits: got warnings %q, error %v", warnings, err)
	}

	three := newHost(t, 3)
	_, _, _, err = three.Init(context.Background(), three.address, three.name, []string{"127.0.0.0/8"}, nil)
	if err == nil {
		t.Error("an address space that the host uses was accepted")
	}
}

func TestTokenOfAnotherAuthorityIsRefused(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	old := one.found()
	if err := one.Leave(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	one.found() // the same address, another fleet
	_, _, _, err := two.Join(context.Background(), old, two.address, two.name)
	if err == nil || !strings.Contains(err.Error(), "does not have the certificate that the join token names") {
		t.Errorf("got error %v", err)
	}
}

func TestFleetSurvivesRestarts(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	one.await("host1 alive, host2 alive")

	one.stop()
	if !one.store().Running() {
		t.Error("the store ended with the agent")
	}
	one.start()
	two.stop()
	one.await("host1 alive, host2 suspect")
	two.start()
	one.await("host1 alive, host2 alive")

	if err := one.store().Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	two.await("host1 alive, host2 alive") // known while the store is away
	one.await("host1 alive, host2 alive")
	one.writes() // the store is started again
}

func TestRemovedHostIsDenied(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	one.await("host1 alive, host2 alive")
	if _, err := one.RemoveHost(context.Background(), "host2", false); err == nil || !strings.Contains(err.Error(),
		"is alive") {
		t.Errorf("got error %v for a host that is alive", err)
	}
	if _, err := two.RemoveHost(context.Background(), "host1", true); fault.KindOf(err) != fault.Denied {
		t.Errorf("got error %v for a member that removes a manager", err)
	}
	if _, err := one.RemoveHost(context.Background(), "host2", true); err != nil {
		t.Fatal(err)
	}
	one.await("host1 alive")

	p, err := two.current()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.renewCertificate(context.Background()); fault.KindOf(err) != fault.Denied &&
		!strings.Contains(fmt.Sprint(err), "not part of the fleet") && !strings.Contains(fmt.Sprint(err), "not known") {
		t.Errorf("got error %v for the renewal of a removed host", err)
	}
	if err := two.Leave(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	two.join(one.token(1))
	one.await("host1 alive, host2 alive")
}

func TestCertificatesAreRenewed(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	two.await("host1 alive, host2 alive")
	for _, h := range []*host{one, two} {
		p, err := h.current()
		if err != nil {
			t.Fatal(err)
		}
		before := p.m.Cert.SerialNumber
		if err := p.renewCertificate(context.Background()); err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
		if p.m.Cert.SerialNumber.Cmp(before) == 0 {
			t.Errorf("%s: got the same certificate", h.name)
		}
		h.stop()
		h.start()
		h.await("host1 alive, host2 alive")
	}
}

func TestMemberCannotWriteOthersRecords(t *testing.T) {
	t.Parallel()
	one, two := newHost(t, 1), newHost(t, 2)
	two.join(one.found())
	two.await("host1 alive, host2 alive")
	p, err := two.current()
	if err != nil {
		t.Fatal(err)
	}
	one.mu.Lock()
	manager := one.part.m.Host
	one.mu.Unlock()
	for name, key := range map[string]string{
		"record of another": p.keys.Host(manager), "own record": p.keys.Host(p.m.Host),
		"presence of another": p.keys.Presence(manager), "name": p.keys.Name("mine"), "token": p.keys.Token("00"),
	} {
		_, err := p.client.PutFor(context.Background(), key, []byte("x"), time.Minute)
		if err == nil {
			t.Errorf("%s: a member wrote %s", name, key)
		}
	}
	one.await("host1 alive, host2 alive")
}
