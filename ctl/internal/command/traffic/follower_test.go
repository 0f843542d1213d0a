package traffic

import (
	"context"
	"testing"
	"time"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

const (
	began = natv1.ConnectionEvent_CONNECTION_EVENT_NEW
	ended = natv1.ConnectionEvent_CONNECTION_EVENT_END
)

// agent is a fake agent with a clock.
type agent struct {
	at     time.Time
	owners map[string]string // names by address
	starts map[string]string // listed once startTime has passed
	began  time.Time
	reads  int
}

func (a *agent) read(context.Context) (*directory, error) {
	a.reads++
	if a.starts != nil && !a.at.Before(a.began.Add(startTime)) {
		a.owners = a.starts
	}
	d := &directory{owners: map[string]owner{}}
	for address, name := range a.owners {
		d.owners[address] = owner{id: "id-" + name, name: name}
	}
	return d, nil
}

func (a *agent) follower() *follower {
	f := &follower{read: a.read, now: func() time.Time { return a.at },
		sleep: func(_ context.Context, d time.Duration) { a.at = a.at.Add(d) }, dir: &directory{}}
	f.refresh(context.Background())
	return f
}

// name returns the container that the line of an event has.
func (f *follower) name(address string, event natv1.ConnectionEvent, at time.Time) string {
	c := &natv1.Connection{Source: address, Target: "198.51.100.1", Event: event}
	l, _ := f.directory(context.Background(), c, at).lineOf(c)
	return l.Container
}

func TestFollowerFindsStartingContainer(t *testing.T) {
	start := time.Unix(1000, 0)
	a := &agent{at: start, began: start, owners: map[string]string{"10.0.0.2": "old"},
		starts: map[string]string{"10.0.0.2": "old", "10.0.0.3": "young"}}
	f := a.follower()
	if got := f.name("10.0.0.3", began, start); got != "young" {
		t.Errorf("got %q, want the container that was not listed yet", got)
	}
	for range 100 { // received while the directory was read
		if got := f.name("10.0.0.99", began, start); got != "" {
			t.Errorf("got %q for an address of no container", got)
		}
	}
	if a.reads != 2 {
		t.Errorf("the directory was read %d times, want 2", a.reads)
	}
}

func TestFollowerKeepsContainerThatEnded(t *testing.T) {
	start := time.Unix(1000, 0)
	a := &agent{at: start, owners: map[string]string{"10.0.0.2": "short"}}
	f := a.follower()
	a.owners = nil
	for range 2 {
		a.at = a.at.Add(2 * maxAge)
		if got := f.name("10.0.0.2", ended, a.at); got != "short" {
			t.Errorf("got %q, want the container that has ended", got)
		}
	}

	a.began, a.starts = a.at, map[string]string{"10.0.0.2": "next"}
	if got := f.name("10.0.0.2", began, a.at); got != "next" {
		t.Errorf("got %q, want the new owner of the address", got)
	}
}

func TestDirectoryHasContainersOfAllPages(t *testing.T) {
	page := func(name, address, next string) *containerv1.ListContainersResponse {
		return &containerv1.ListContainersResponse{NextPageToken: next, Containers: []*containerv1.Container{
			{Id: name, Config: &containerv1.ContainerConfig{Name: name}, Sandbox: &networkv1.Sandbox{
				Endpoints: []*networkv1.Endpoint{{Ipv4Address: address}}}}}}
	}
	_, cl := clienttest.Dial(t, clienttest.Script{
		"ListContainers": {clienttest.Answers(page("one", "10.0.0.2/24", "more")),
			clienttest.Answers(page("two", "10.0.0.3/24", ""))},
		"ListResolvedNames": {clienttest.Answers(&dnsv1.ListResolvedNamesResponse{})},
		"ListEndpoints": {clienttest.Answers(&fleetv1.ListEndpointsResponse{Endpoints: []*fleetv1.HostEndpoint{
			{HostName: "far", Endpoint: &fleetv1.OverlayEndpoint{Names: []string{"three", "alias"},
				Addresses: []string{"10.1.0.4", "fd00::4"}}}}})},
	})
	d, err := readDirectory(t.Context(), cl)
	if err != nil || d.owners["10.0.0.2"].name != "one" || d.owners["10.0.0.3"].name != "two" ||
		len(d.others) != 2 || d.others["fd00::4"] != (other{"three", "far"}) {
		t.Errorf("got %v, %v, want the containers of two pages", d, err)
	}
	reads := 0
	n := Names{dir: &directory{}, read: func(context.Context) (*directory, error) { reads++; return d, nil }}
	for address, want := range map[string]string{"10.0.0.2": "one", "10.1.0.4": "three.far", "10.0.0.9": ""} {
		if got := n.Name(t.Context(), address); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
	if reads == 0 {
		t.Error("the containers were not read")
	}
}
