package container_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

// TestEnvironmentMergeProperty merges the image's and the user's variables. The last value of a name
// applies, at the position of the first.
func TestEnvironmentMergeProperty(t *testing.T) {
	entry := rapid.StringMatching(`[AB]{1,2}=[x=]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		img := &container.ImageConfig{Cmd: []string{"sh"}, Env: rapid.SliceOfN(entry, 0, 5).Draw(t, "image")}
		c := &container.Config{Env: rapid.SliceOfN(entry, 0, 5).Draw(t, "user")}
		p, err := container.ProcessOf(c, img)
		if err != nil {
			t.Fatal(err)
		}

		last, order := map[string]string{}, []string{}
		for _, e := range slices.Concat(img.Env, c.Env) {
			name, value, _ := strings.Cut(e, "=")
			if _, ok := last[name]; !ok {
				order = append(order, name)
			}
			last[name] = value
		}
		for i, name := range order {
			order[i] = name + "=" + last[name]
		}
		if !slices.Equal(p.Env, order) {
			t.Fatalf("%v and %v: got %v, want %v", img.Env, c.Env, p.Env, order)
		}
	})
}

// TestExposedPortsProperty compares the exposed ports with the set of all ports that image, user and
// mappings name, and checks that -P publishes each of the others once.
func TestExposedPortsProperty(t *testing.T) {
	exposed := rapid.Custom(func(t *rapid.T) port.Exposed {
		r := port.Single(rapid.Uint16Range(1, 200).Draw(t, "first"))
		r.Last += rapid.SampledFrom([]uint16{0, 0, 2, 70}).Draw(t, "more")
		return port.Exposed{Protocol: rapid.SampledFrom([]port.Protocol{"tcp", "udp"}).Draw(t, "protocol"), Ports: r}
	})
	rapid.Check(t, func(t *rapid.T) {
		img := &container.ImageConfig{Cmd: []string{"sh"}, ExposedPorts: map[string]struct{}{}}
		for _, e := range rapid.SliceOfN(exposed, 0, 4).Draw(t, "image") {
			img.ExposedPorts[e.String()] = struct{}{}
		}
		c := &container.Config{Network: container.Network{PublishAll: true,
			Expose: rapid.SliceOfN(exposed, 0, 4).Draw(t, "expose")}}
		for _, e := range rapid.SliceOfN(exposed, 0, 2).Draw(t, "publish") {
			c.Network.Publish = append(c.Network.Publish, port.Mapping{Protocol: e.Protocol, Container: e.Ports})
		}
		p, err := container.ProcessOf(c, img)
		if err != nil {
			t.Fatal(err)
		}

		want, got := map[string]bool{}, map[string]bool{}
		add := func(to map[string]bool, protocol port.Protocol, r port.Range) {
			for n := int(r.First); n <= int(r.Last); n++ {
				to[fmt.Sprint(n, "/", protocol)] = true
			}
		}
		for key := range img.ExposedPorts {
			e, _ := port.ParseExposed(key)
			add(want, e.Protocol, e.Ports)
		}
		for _, e := range c.Network.Expose {
			add(want, e.Protocol, e.Ports)
		}
		for _, m := range c.Network.Publish {
			add(want, m.Protocol, m.Container)
		}
		for _, e := range p.Exposed {
			add(got, e.Protocol, e.Ports)
			if e.Ports.Len() > 1 && e.Ports.Len() < 64 {
				t.Fatalf("got the short range %s", e)
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}

		published := map[string]bool{}
		for _, m := range c.Mappings(p.Exposed) {
			add(published, m.Protocol, m.Container)
		}
		if !maps.Equal(published, want) {
			t.Fatalf("got %v published, want %v", published, want)
		}
		if c.Network.PublishAll = false; len(c.Mappings(p.Exposed)) != len(c.Network.Publish) {
			t.Fatalf("got %v without -P", c.Mappings(p.Exposed))
		}
	})
}

// TestCapabilitiesProperty compares the capabilities of a container with Docker's definition.
func TestCapabilitiesProperty(t *testing.T) {
	name := rapid.SampledFrom([]string{"CHOWN", "cap_kill", "NET_ADMIN", "CAP_NET_RAW", "all", "sys_admin"})
	standard := []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"}
	rapid.Check(t, func(t *rapid.T) {
		s := container.Security{CapAdd: rapid.SliceOfN(name, 0, 4).Draw(t, "add"),
			CapDrop: rapid.SliceOfN(name, 0, 4).Draw(t, "drop")}
		has := func(list []string, c string) bool {
			return slices.ContainsFunc(list, func(n string) bool { return container.NormalizeCapability(n) == c })
		}
		got := s.Capabilities(standard)
		for _, c := range []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN",
			"CAP_BPF"} {
			want := slices.Contains(standard, c) && !has(s.CapDrop, c) && !has(s.CapDrop, "ALL") || has(s.CapAdd, c)
			if has(s.CapAdd, "ALL") {
				want = !has(s.CapDrop, c)
			}
			if slices.Contains(got, c) != want {
				t.Fatalf("add %v, drop %v: got %s %v, want %v", s.CapAdd, s.CapDrop, c, !want, want)
			}
		}
		if slices.Sort(got); len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("add %v, drop %v: got duplicates in %v", s.CapAdd, s.CapDrop, got)
		}
		s.Privileged = true
		if all := s.Capabilities(standard); !slices.Contains(all, "CAP_BPF") || !slices.Contains(all, "CAP_SYS_ADMIN") {
			t.Fatalf("privileged: got %v", all)
		}
	})
}

// TestUnpublishRevertsPublish publishes a port and withdraws it.
func TestUnpublishRevertsPublish(t *testing.T) {
	mapping := rapid.Custom(func(t *rapid.T) port.Mapping {
		return tcpPort(rapid.SampledFrom([]string{"", "127.0.0.1", "192.0.2.1"}).Draw(t, "ip"),
			rapid.Uint16Range(0, 4).Draw(t, "host"), 0, rapid.Uint16Range(1, 4).Draw(t, "container"), 0)
	})
	rapid.Check(t, func(t *rapid.T) {
		c := &container.Container{Config: container.Config{Name: "web", Image: "nginx"}}
		c.Config.Network.Publish = rapid.SliceOfNDistinct(mapping, 0, 4, rapid.ID).Draw(t, "has")
		m := mapping.Draw(t, "mapping")
		m.Host = port.Single(9000) // of no other
		out, err := c.Published([]port.Mapping{m}, nil)
		if err != nil || len(out.Config.Network.Publish) != len(c.Config.Network.Publish)+1 {
			t.Fatalf("got %v, %v", out, err)
		}
		if _, err := out.Published([]port.Mapping{m}, nil); !fault.Is(err, fault.Exists) ||
			err.Error() != "container web: "+m.String()+" is already published" {
			t.Fatalf("again: got %v", err)
		}
		back, left, err := out.Unpublished([]port.Mapping{m}, nil, false)
		if err != nil || len(left) > 0 || texts(back.Config.Network.Publish) != texts(c.Config.Network.Publish) {
			t.Fatalf("got %v, left %v, %v, want %v", back, left, err, c.Config.Network.Publish)
		}
	})
}

func TestDomainnameSetsSysctl(t *testing.T) {
	for name, c := range map[string]struct {
		domain        string
		sysctls, want map[string]string
	}{
		"neither": {},
		"domain":  {"corp.example", nil, map[string]string{"kernel.domainname": "corp.example"}},
		"both": {"corp.example", map[string]string{"net.core.somaxconn": "1"},
			map[string]string{"net.core.somaxconn": "1", "kernel.domainname": "corp.example"}},
		"explicit": {"corp.example", map[string]string{"kernel.domainname": "x"},
			map[string]string{"kernel.domainname": "x"}},
	} {
		given := maps.Clone(c.sysctls)
		cfg := container.Config{Sysctls: c.sysctls, DNS: container.DNS{Domainname: c.domain}}
		if got := cfg.AllSysctls(); !maps.Equal(got, c.want) || !maps.Equal(c.sysctls, given) {
			t.Errorf("%s: got %v, want %v; given %v", name, got, c.want, c.sysctls)
		}
	}
	off := container.Config{Sysctls: map[string]string{"net.ipv6.conf.all.disable_ipv6": "1"}}
	if on := (container.Config{}); !off.HasNoIPv6() || on.HasNoIPv6() {
		t.Error("HasNoIPv6 is wrong")
	}
}

func TestAgentDefaultsYieldToContainer(t *testing.T) {
	d := container.Defaults{ShmSize: 5, LogDriver: "local", Init: true, NoNewPrivileges: true, IPC: "shareable",
		Cgroup: "host", CgroupParent: "/agent"}
	got := container.Config{Image: "x"}.WithDefaults(d)
	if got.Log.Driver != "local" || got.Init == nil || !*got.Init || got.Namespaces.IPC != "shareable" ||
		got.Namespaces.Cgroup != "host" || got.Namespaces.CgroupParent != "/agent" || got.Resources.ShmSize != 5 ||
		!slices.Equal(got.Security.Options, []string{"no-new-privileges"}) {
		t.Errorf("got %+v", got)
	}

	own := container.Config{Init: new(false), Namespaces: container.Namespaces{IPC: "private", Cgroup: "private",
		CgroupParent: "/own"}, Security: container.Security{Options: []string{"no-new-privileges=false"}}}
	own.Log.Driver, own.Resources.ShmSize = "none", 7
	if got := own.WithDefaults(d); got.Log.Driver != "none" || *got.Init || got.Namespaces != own.Namespaces ||
		got.Resources.ShmSize != 7 || !slices.Equal(got.Security.Options, own.Security.Options) {
		t.Errorf("got %+v, want what the container has", got)
	}
	shared := container.Config{Namespaces: container.Namespaces{PID: "host"}}.WithDefaults(d)
	if shared.Init != nil {
		t.Errorf("got an init process in the host's PID namespace")
	}
	if got := (container.Config{}).WithDefaults(container.Defaults{}); got.Log.Driver != "json-file" ||
		got.Resources.ShmSize != 64<<20 || got.Namespaces.IPC != "private" || got.Init != nil {
		t.Errorf("got %+v without defaults of the agent", got)
	}
}

func TestLinksResolveToIDs(t *testing.T) {
	find := func(ref string) (*container.Container, error) {
		if ref == "nosuch" {
			return nil, fault.NotFoundf("container nosuch", "No such container: nosuch")
		}
		return &container.Container{ID: "id-" + ref, Config: container.Config{Name: ref}}, nil
	}
	got, err := container.ResolveLinks([]container.Link{{Container: "db"}, {Container: "web", Alias: "www"}}, find)
	want := []container.Link{{Container: "id-db", Alias: "db"}, {Container: "id-web", Alias: "www"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	got, err = container.ResolveLinks([]container.Link{{Container: "db"}, {Container: "nosuch"}}, find)
	if got != nil || !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, %v for a container that does not exist", got, err)
	}
}
