package container_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func valid() container.Config {
	return container.Config{Image: "nginx", Network: container.Network{Mode: container.ModeBridge}}
}

func TestConfigValidateRejectsInvalid(t *testing.T) {
	tcp80 := port.Mapping{Protocol: port.TCP, Container: port.Single(80)}
	for _, row := range []struct {
		name   string
		change func(*container.Config)
		want   string // "" is valid
	}{
		{"nothing but an image", func(*container.Config) {}, ""},
		{"no image", func(c *container.Config) { c.Image = " " }, "image is missing"},
		{"a name of one letter", func(c *container.Config) { c.Name = "a" }, "Invalid container name (a)"},
		{"a slash in the name", func(c *container.Config) { c.Name = "a/b" },
			"only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"},
		{"a name that starts with a dot", func(c *container.Config) { c.Name = ".ab" }, "Invalid container name"},
		{"a variable without a value", func(c *container.Config) { c.Env = []string{"A"} },
			`"A" is not a valid KEY=VALUE`},
		{"relative working directory", func(c *container.Config) { c.WorkingDir = "srv" }, "'srv' is invalid"},
		{"a descriptor as working directory", func(c *container.Config) { c.WorkingDir = "/proc/self/fd/7" },
			"must not be a process descriptor"},
		{"a descriptor below /dev", func(c *container.Config) { c.WorkingDir = "/dev/fd/7" },
			"must not be a process descriptor"},
		{"/dev as working directory", func(c *container.Config) { c.WorkingDir = "/dev" }, ""},
		{"labels of 1 MiB", func(c *container.Config) { c.Labels = map[string]string{"a": strings.Repeat("x", 1<<20)} },
			"exceeds the limit of 524288"},
		{"a zero byte", func(c *container.Config) { c.Command = []string{"a\x00b"} }, "contains a NUL byte"},
		{"an unknown stop signal", func(c *container.Config) { c.StopSignal = "SIGNOPE" }, "Invalid signal: SIGNOPE"},
		{"a relative bind", func(c *container.Config) { c.Mounts = []container.Mount{{Source: "a", Target: "/a"}} },
			"must be absolute"},
		{"a bind on the root", func(c *container.Config) { c.Mounts = []container.Mount{{Source: "/a", Target: "/."}} },
			"can't be '/'"},
		{"two binds on one target", func(c *container.Config) {
			c.Mounts = []container.Mount{{Source: "/a", Target: "/x"}, {Source: "/b", Target: "/x/"}}
		}, "Duplicate mount point: /x"},
		{"an unknown propagation", func(c *container.Config) {
			c.Mounts = []container.Mount{{Source: "/a", Target: "/x", Propagation: "wild"}}
		}, `"wild"`},
		{"ports on the host's network", func(c *container.Config) {
			c.Network = container.Network{Mode: container.ModeHost, Publish: []port.Mapping{tcp80}}
		}, "cannot be published with --network host"},
		{"all ports on no network", func(c *container.Config) {
			c.Network = container.Network{Mode: container.ModeNone, PublishAll: true}
		}, "cannot be published with --network none"},
		{"container port zero", func(c *container.Config) {
			c.Network.Publish = []port.Mapping{{Protocol: port.TCP}}
		}, "invalid containerPort: 0"},
		{"an unknown protocol", func(c *container.Config) {
			c.Network.Publish = []port.Mapping{{Protocol: "foo", Container: port.Single(1)}}
		}, "invalid proto: foo"},
		{"ranges of two lengths", func(c *container.Config) {
			c.Network.Publish = []port.Mapping{{Protocol: port.TCP, Container: span(80, 81),
				Host: span(8000, 8002)}}
		}, "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"},
		{"a host range for one port", func(c *container.Config) {
			c.Network.Publish = []port.Mapping{{Protocol: port.TCP, Container: port.Single(80),
				Host: span(8000, 8002)}}
		}, ""},
		{"a range backwards", func(c *container.Config) {
			c.Network.Publish = []port.Mapping{{Protocol: port.TCP, Container: port.Single(80),
				Host: port.Range{First: 90, Last: 80}}}
		}, "invalid hostPort: 90-80"},
		{"a long host name", func(c *container.Config) { c.DNS.Hostname = strings.Repeat("a", 65) },
			"too long (maximum 64 bytes)"},
		{"an extra host without an address", func(c *container.Config) { c.DNS.ExtraHosts = []string{"foo"} },
			`bad format for add-host: "foo"`},
	} {
		c := valid()
		row.change(&c)
		err := c.Validate()
		if row.want == "" {
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", row.name, err, row.want)
		}
	}
}

func TestProcessOfMergesImageConfig(t *testing.T) {
	img := &container.ImageConfig{Entrypoint: []string{"/ep"}, Cmd: []string{"a", "b"},
		Env:        []string{"PATH=/bin", "X=1"},
		WorkingDir: "/srv", User: "www", ExposedPorts: map[string]struct{}{"443/tcp": {}, "80": {},
			"9000-9001/udp": {}}}
	for _, row := range []struct {
		name       string
		entrypoint []string
		command    []string
		want       string
	}{
		{"the image's own", nil, nil, "/ep a b"},
		{"another command", nil, []string{"c"}, "/ep c"},
		{"another entrypoint drops the command", []string{"/x"}, nil, "/x"},
		{"both", []string{"/x"}, []string{"y"}, "/x y"},
		{"an empty entrypoint", []string{""}, []string{"y"}, "y"},
	} {
		c := valid()
		c.Entrypoint, c.Command = row.entrypoint, row.command
		p, err := container.ProcessOf(&c, img)
		if err != nil || strings.Join(p.Args, " ") != row.want {
			t.Errorf("%s: got %v, %v, want %s", row.name, p, err, row.want)
		}
	}

	c := valid()
	c.Env, c.WorkingDir = []string{"X=2", "Y=3"}, "/home"
	c.Network.Expose = []port.Exposed{{Protocol: port.TCP, Ports: port.Single(80)}}
	p, err := container.ProcessOf(&c, img)
	if err != nil {
		t.Fatal(err)
	}

	if got := strings.Join(p.Env, " "); got != "PATH=/bin X=2 Y=3" {
		t.Errorf("environment: got %s", got)
	}

	if p.WorkingDir != "/home" || p.User != "www" || p.StopSignal != "TERM" {
		t.Errorf("%+v", p)
	}

	want := []port.Exposed{{Protocol: "tcp", Ports: port.Single(80)}, {Protocol: "tcp", Ports: port.Single(443)},
		{Protocol: "udp", Ports: port.Single(9000)}, {Protocol: "udp", Ports: port.Single(9001)}}
	if !slices.Equal(p.Exposed, want) {
		t.Errorf("exposed ports: got %v, want %v", p.Exposed, want)
	}

	c.Command = nil
	if _, err := container.ProcessOf(&c, &container.ImageConfig{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("without a command: got %v", err)
	}
}

func TestPublishAllAddsUnmappedExposedPorts(t *testing.T) {
	c := valid()
	c.Network.PublishAll = true
	c.Network.Publish = []port.Mapping{{Protocol: port.TCP, Container: port.Single(80), Host: port.Single(8080)}}
	got := c.Mappings([]port.Exposed{{Protocol: port.TCP, Ports: port.Single(80)},
		{Protocol: port.UDP, Ports: port.Single(53)}})
	want := []port.Mapping{c.Network.Publish[0],
		{Protocol: port.UDP, Container: port.Single(53), HostIP: netip.Addr{}}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestGeneratedNamesAreValidAndUnused(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		refuse := rapid.IntRange(0, 20).Draw(rt, "taken")
		name := container.GenerateName(func(string) bool { refuse--; return refuse >= 0 })
		if err := container.ValidateName(name); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestNameIsLimited(t *testing.T) {
	if err := container.ValidateName(strings.Repeat("a", 253)); err != nil {
		t.Error(err)
	}
	err := container.ValidateName(strings.Repeat("a", 1<<16))
	if err == nil || len(err.Error()) > 250 || !strings.Contains(err.Error(), "65536 bytes, more than 253") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseImageConfig(f *testing.F) {
	f.Add([]byte(`{"config":{"Cmd":["a"],"ExposedPorts":{"80/tcp":{}}}}`))
	f.Add([]byte(`{"config":{"ExposedPorts":{"70000-1/x":{}}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		img, err := container.ParseImageConfig(doc)
		if err != nil {
			return
		}
		c := valid()
		if p, err := container.ProcessOf(&c, img); err == nil && len(p.Args) == 0 {
			t.Error("got process without arguments")
		}
	})
}

func TestProcessOfRejectsInvalidImageConfig(t *testing.T) {
	for want, img := range map[string]container.ImageConfig{
		"'srv' is invalid":                 {WorkingDir: "srv"},
		"must not be a process descriptor": {WorkingDir: "/proc/self/fd/7"},
		`"A" is not a valid KEY=VALUE`:     {Env: []string{"A"}},
		"A=\\x00\" contains a NUL byte":    {Env: []string{"A=\x00"}},
		"-c\\x00\" contains a NUL byte":    {Cmd: []string{"sh", "-c\x00"}},
	} {
		c := valid()
		c.Entrypoint = []string{"sh"}
		if len(img.Cmd) > 0 {
			c.Entrypoint = nil
		}
		if _, err := container.ProcessOf(&c, &img); !fault.Is(err, fault.Invalid) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSubjectOfNewContainer(t *testing.T) {
	for name, want := range map[string]string{"web": "container web", "": "container"} {
		if got := container.Subject(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
