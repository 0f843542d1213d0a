package policies_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// Rules of macvlan and ipvlan networks are in the namespace of the container: what could change them is refused.
func TestPrivilegesThatAvoidRules(t *testing.T) {
	for _, driver := range []string{"macvlan", "ipvlan"} {
		p, _, s := newPolicies(t)
		m := member("web", "10.0.0.2", "none")
		m.Endpoints[0].Bridge, m.Endpoints[0].Driver = "", driver
		if err := p.Apply(t.Context(), m); err != nil {
			t.Fatal(err)
		}

		m.Privileges = []string{"CAP_NET_RAW"}
		want := "rules of options cannot be enforced on network back of driver " + driver +
			": the container has CAP_NET_RAW, with which it can avoid them; create it without --privileged and with " +
			"--cap-drop NET_RAW"
		if err := p.Apply(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}

		m.Privileges = nil
		for want, security := range map[string]container.Security{
			"":                          {CapDrop: []string{"NET_RAW"}},
			"CAP_NET_RAW":               {},
			"CAP_NET_ADMIN":             {CapDrop: []string{"ALL"}, CapAdd: []string{"net_admin"}},
			"CAP_NET_ADMIN and CAP_NET": {Privileged: true},
		} {
			err := p.CheckPrivileges(m.ID, "joiner", &security)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("process with %+v: got %v, want %q", security, err, want)
			}
		}
		if err := p.CheckPrivileges("other", "joiner", &container.Security{}); err != nil {
			t.Errorf("another network: got %v", err)
		}

		joiner := member("joiner", "10.0.0.3")
		running(t, s, joiner)
		if _, err := s.UpdateContainer(joiner.ID, func(c *container.Container) *container.Container {
			next, live := *c, *c.Live
			live.SharedWith, next.Live = m.ID, &live
			return &next
		}); err != nil {
			t.Fatal(err)
		}
		want = "container joiner, which shares the network, has CAP_NET_RAW"
		if err := p.Apply(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
