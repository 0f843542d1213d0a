package follow_test

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/events"
	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
	"github.com/fairlead/fairlead/services/supervisor/internal/agents"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/follow"
	"github.com/fairlead/fairlead/services/supervisor/internal/lives"
	"github.com/fairlead/fairlead/services/supervisor/internal/notices"
	rules "github.com/fairlead/fairlead/services/supervisor/internal/policies"
	"github.com/fairlead/fairlead/services/supervisor/internal/protoconv"
	"github.com/fairlead/fairlead/services/supervisor/internal/store"
)

// owner is the ID of the container of a world.
var owner = strings.Repeat("ab", 32)

// world is a store with one container, web, and what the other services have of it.
type world struct {
	*follow.Follower
	dir    string
	store  *store.Store
	events *events.Subscription

	connected   []string          // netagent: networks of the sandbox
	sandboxName string            // netagent
	reserved    []string          // netagent: networks with a reserved static address
	removed     map[string]bool   // netagent: removed networks
	names       map[string]string // dnsagent: network to the name of the container
	natName     string            // natagent
	target      string            // natagent: the address that ports are forwarded to
	bindings    []*natv1.PortBinding
	rules       []string // natagent: egress policy
	dnsRules    []string // dnsagent: egress policy

	did   []string // requests to the services
	fault *failure
	onAny func(request string) // called before each request; may be nil
}

// failure makes one request fail, or all from it on.
type failure struct {
	name  string
	at    int  // index in world.did
	last  bool // later requests succeed
	same  bool // later requests fail only if they are of the same kind
	kind  fault.Kind
	late  bool // the request has its effect, only the response is lost
	crash bool // the agent is killed
}

// crashed is the value of the panic that ends a killed agent.
type crashed struct{}

// request performs a request to a service, or fails it.
func (w *world) request(name string, effect func()) error {
	n := len(w.did)
	w.did = append(w.did, name)
	if w.onAny != nil {
		w.onAny(name)
	}
	f := w.fault
	if f == nil || n < f.at || n > f.at && (f.last || f.same && name != w.did[f.at]) {
		effect()
		return nil
	}
	if f.late {
		effect()
	}
	if f.crash {
		panic(crashed{})
	}
	return fault.New(f.kind, name, "fails in this test")
}

// newWorld returns a world whose container publishes port 8080 and is connected to networks.
func newWorld(t *testing.T, running bool, on ...container.Attachment) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), removed: map[string]bool{}}
	w.open(t)
	t.Cleanup(func() { _ = w.store.Close() })
	c := &container.Container{ID: owner, ImageID: "sha256:00", Status: container.Exited,
		Config: container.Config{Name: "web", Image: "busybox", Network: container.Network{
			Mode: container.Mode(on[0].Network), Attachments: on, Publish: []port.Mapping{mapping(8080)}}}}
	if running {
		w.start(c)
	}
	for _, a := range on {
		if a.Fixed() && !running {
			w.reserved = append(w.reserved, a.Network)
		}
	}
	if _, err := w.store.AddImages(&store.Image{ID: "sha256:00"}); err != nil {
		t.Fatal(err)
	}
	if err := w.store.AddContainer(c); err != nil {
		t.Fatal(err)
	}
	return w
}

// start makes c a running container that the services know.
func (w *world) start(c *container.Container) {
	w.names, w.sandboxName, w.natName = map[string]string{}, "web", "web"
	for _, a := range c.Config.Network.Attachments {
		w.connected = append(w.connected, a.Network)
		w.names[a.Network] = "web"
	}
	live := container.RunState{PID: 42, Endpoints: protoconv.EndpointsFromProto(endpointsOf(w.connected))}
	w.target = live.PublishTarget().IPv4
	w.bindings = []*natv1.PortBinding{{Protocol: natv1.Protocol_PROTOCOL_TCP, HostIp: "0.0.0.0", HostPort: 8080,
		ContainerIp: w.target, ContainerPort: 80}}
	live.Bindings, _ = portpb.BindingsFromProto(w.bindings)
	c.Status, c.Live, c.StartedAt = container.Running, &live, time.Now()
}

func mapping(host uint16) port.Mapping {
	return port.Mapping{Protocol: port.TCP, Host: port.Single(host), Container: port.Single(80)}
}

// open opens the store, as a new agent does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	if w.store, err = store.Open(w.dir); err != nil {
		t.Fatal(err)
	}
	broker := &events.Broker{}
	if w.events, err = broker.Subscribe(time.Time{}); err != nil {
		t.Fatal(err)
	}
	a := agents.New(agents.Config{Networks: networks{w: w}, Sandboxes: sandboxes{w: w},
		Publications: publications{w: w}, Policies: policies{w: w}, Names: registrations{w: w}})
	log := slog.New(slog.DiscardHandler)
	w.Follower = follow.New(follow.Config{Log: log, Store: w.store, Agents: a, Lives: lives.New(),
		Names: lives.NewNames(), Policies: rules.New(rules.Config{Log: log, Store: w.store, Agents: a}),
		Notices: notices.New(notices.Config{Events: broker, Store: w.store, Agents: a, Log: log})})
}

// try performs an operation. A killed agent is replaced by a new one.
func (w *world) try(t *testing.T, do func() error) (err error, killed bool) {
	t.Helper()
	defer func() {
		switch p := recover(); p.(type) {
		case nil:
		case crashed:
			killed = true
			if err := w.store.Close(); err != nil {
				t.Fatal(err)
			}
			w.open(t)
		default:
			panic(p)
		}
	}()
	return do(), false
}

// repair synchronizes with services that are available again.
func (w *world) repair(t *testing.T) {
	t.Helper()
	w.fault = nil
	if err := w.SyncAll(t.Context()); err != nil {
		t.Errorf("sync: %v", err)
	}
}

func (w *world) find(t *testing.T) *container.Container {
	t.Helper()
	c, err := w.store.GetContainer(owner)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// emitted returns the actions of the events until now.
func (w *world) emitted(t *testing.T) (out []string) {
	t.Helper()
	w.Notices.Emit(w.find(t), "end")
	for {
		e, err := w.events.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e.Action == "end" {
			return out
		}
		out = append(out, e.Action)
	}
}

// shape describes the configuration that a change changes.
func shape(c *container.Container) string {
	var out []string
	for _, a := range c.Config.Network.Attachments {
		out = append(out, a.Network)
	}
	for _, p := range c.Config.Network.Publish {
		out = append(out, p.String())
	}
	return c.Config.Name + " " + strings.Join(out, " ")
}

// wantConsistent checks that no change is pending and that all services have what the store has.
func (w *world) wantConsistent(t *testing.T) {
	t.Helper()
	c := w.find(t)
	if c.Change != nil {
		t.Errorf("still pending: %+v", c.Change)
	}
	var attached, fixed []string
	for _, a := range c.Config.Network.Attachments {
		attached = append(attached, a.Network)
		if a.Fixed() {
			fixed = append(fixed, a.Network)
		}
	}
	if !c.IsRunning() {
		if !slices.Equal(w.reserved, fixed) || c.Live != nil {
			t.Errorf("got addresses reserved on %q, want %q", w.reserved, fixed)
		}
		return
	}

	var endpoints []string
	for _, e := range c.Live.Endpoints {
		endpoints = append(endpoints, e.NetworkName)
	}
	for what, got := range map[string][]string{"netagent": w.connected, "endpoints": endpoints,
		"dnsagent": slices.Collect(maps.Keys(w.names))} {
		slices.Sort(got)
		if !slices.Equal(got, attached) {
			t.Errorf("%s: got networks %q, want %q", what, got, attached)
		}
	}
	for _, name := range append(slices.Collect(maps.Values(w.names)), w.sandboxName, w.natName) {
		if name != c.Config.Name {
			t.Errorf("got name %s in a service, want %s", name, c.Config.Name)
		}
	}
	w.wantPublished(t, c)
}

func (w *world) wantPublished(t *testing.T, c *container.Container) {
	t.Helper()
	bindings, err := portpb.BindingsFromProto(w.bindings)
	if err != nil || !follow.SamePorts(bindings, c.Live.Bindings) {
		t.Errorf("natagent has %v, the store %v", bindings, c.Live.Bindings)
	}
	if want := c.Live.PublishTarget().IPv4; w.target != want {
		t.Errorf("got ports forwarded to %s, want %s", w.target, want)
	}
	var ports, want []port.Range
	for _, b := range bindings {
		ports = append(ports, b.Host)
		if b.ContainerIP != netip.MustParseAddr(w.target) {
			t.Errorf("got a binding to %s, want %s", b.ContainerIP, w.target)
		}
	}
	for _, p := range c.Config.Network.Publish {
		want = append(want, p.Host)
	}
	if !slices.Equal(ports, want) {
		t.Errorf("got published %v, want %v", ports, want)
	}
}
