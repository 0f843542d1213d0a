package container

import (
	"slices"
	"strings"
	"testing"
)

func TestCapabilities(t *testing.T) {
	standard := []string{"CAP_CHOWN", "CAP_KILL"}
	for name, c := range map[string]struct {
		security Security
		want     []string
	}{
		"default":  {Security{}, standard},
		"add":      {Security{CapAdd: []string{"net_admin", "CAP_CHOWN"}}, append(standard[:2:2], "CAP_NET_ADMIN")},
		"drop":     {Security{CapDrop: []string{"Chown"}}, []string{"CAP_KILL"}},
		"drop all": {Security{CapDrop: []string{"all"}}, nil},
		"only":     {Security{CapAdd: []string{"KILL"}, CapDrop: []string{"ALL"}}, []string{"CAP_KILL"}},
		"add and drop": {Security{CapAdd: []string{"SYSLOG"}, CapDrop: []string{"SYSLOG"}},
			append(standard[:2:2], "CAP_SYSLOG")},
		"all":        {Security{CapAdd: []string{"ALL"}, CapDrop: []string{"ALL"}}, knownCapabilities},
		"privileged": {Security{Privileged: true, CapDrop: []string{"ALL"}}, knownCapabilities},
	} {
		if got := c.security.Capabilities(standard); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}

	but := Security{CapAdd: []string{"ALL"}, CapDrop: []string{"SYS_ADMIN"}}
	got := but.Capabilities(standard)
	if slices.Contains(got, "CAP_SYS_ADMIN") || len(got) != len(knownCapabilities)-1 {
		t.Errorf("all but one: got %v", got)
	}
	if got = but.NamedCapabilities(); len(got) != 0 {
		t.Errorf("got named capabilities %v, want none", got)
	}
}

func TestSecurityOptions(t *testing.T) {
	got, err := ParseSecurityOptions("container", []string{"no-new-privileges", "seccomp=unconfined", "apparmor:x",
		"label=disable", "systempaths=unconfined"})
	if err != nil || !*got.NoNewPrivileges || got.Seccomp != Unconfined || got.AppArmor != "x" ||
		!slices.Equal(got.Labels, []string{"disable"}) || got.SystemPaths != Unconfined {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = ParseSecurityOptions("container", []string{"no-new-privileges", "no-new-privileges=false"})
	if err != nil || *got.NoNewPrivileges {
		t.Errorf("got %+v, %v, want the last value", got, err)
	}
	for _, text := range []string{"", "nosuch", "nosuch=1", "seccomp=", "systempaths=none", "no-new-privileges=maybe",
		"no-new-privileges:", "apparmor", strings.Repeat("x", 1000)} {
		if _, err := ParseSecurityOptions("container web", []string{text}); err == nil ||
			!strings.HasPrefix(err.Error(), "container web: invalid --security-opt: ") || len(err.Error()) > 400 {
			t.Errorf("%q: got %v, want a short error", text, err)
		}
	}
}

func TestPrivilegesAndNamespacesValidation(t *testing.T) {
	device := func(host, path, access string) Security {
		return Security{Devices: []Device{{host, path, access}}}
	}
	yes := true
	for want, c := range map[string]Config{
		`unknown capability: "CAP_X"`:                {Security: Security{CapAdd: []string{"x"}}},
		`unknown capability: "CAP_Y"`:                {Security: Security{CapDrop: []string{"cap_y"}}},
		"null is not an absolute path":               {Security: device("null", "/dev/null", "r")},
		"cannot be created at /etc/x":                {Security: device("/dev/null", "/etc/x", "r")},
		"cannot be created at /dev/../x":             {Security: device("/dev/null", "/dev/../x", "r")},
		"cannot be created at /dev":                  {Security: device("/dev/null", "/dev", "r")},
		"bad mode specified: x":                      {Security: device("/dev/null", "/dev/x", "x")},
		"invalid device cgroup format 'c 1'":         {Security: Security{DeviceRules: []string{"c 1"}}},
		`"a:b" is not a group name or ID`:            {Security: Security{Groups: []string{"a:b"}}},
		"at most 1024 groups":                        {Security: Security{Groups: slices.Repeat([]string{"1"}, 1025)}},
		"invalid IPC mode: x":                        {Namespaces: Namespaces{IPC: "x"}},
		"invalid IPC mode: container:":               {Namespaces: Namespaces{IPC: "container:"}},
		"invalid PID mode: private":                  {Namespaces: Namespaces{PID: "private"}},
		"invalid CGROUP mode: container:a":           {Namespaces: Namespaces{Cgroup: "container:a"}},
		"invalid USER mode: x":                       {Namespaces: Namespaces{User: "x"}},
		"invalid cgroup parent: /a/../b":             {Namespaces: Namespaces{CgroupParent: "/a/../b"}},
		"invalid cgroup parent: /":                   {Namespaces: Namespaces{CgroupParent: "/"}},
		"conflicting options: init and the PID mode": {Namespaces: Namespaces{PID: "host"}, Init: &yes},
		"annotation key":                             {Annotations: map[string]string{"": "x"}},
		"is set by the agent":                        {Annotations: map[string]string{filterAnnotation: "x"}},
		"not allowed in host IPC namespace": {Namespaces: Namespaces{IPC: "host"},
			Sysctls: map[string]string{"kernel.shmmax": "1"}},
		`sysctl "fs.mqueue.msg_max" and the IPC mode`: {Namespaces: Namespaces{IPC: "container:a"},
			Sysctls: map[string]string{"fs.mqueue.msg_max": "1"}},
	} {
		c.Name, c.Image = "web", "x"
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "container web: ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}

	valid := Config{Image: "x", Init: &yes, Annotations: map[string]string{"a": ""},
		Security: Security{CapAdd: []string{"ALL"}, Devices: []Device{{"/dev/a", "/dev/b/c", "rwm"}},
			DeviceRules: []string{"a *:* rwm"}, Groups: []string{"a", "5"}},
		Namespaces: Namespaces{IPC: "shareable", Cgroup: "host", User: "host", CgroupParent: "a.slice"}}
	if err := valid.Validate(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

func TestNamespaceDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		given    Namespaces
		defaults Defaults
		priv     bool
		want     Namespaces
	}{
		"v1": {Namespaces{}, Defaults{}, false, Namespaces{IPC: "private", Cgroup: "host"}},
		"v2": {Namespaces{}, Defaults{CgroupV2: true}, true, Namespaces{IPC: "private", Cgroup: "private"}},
		"configured": {Namespaces{}, Defaults{IPC: "shareable", Cgroup: "private"}, false,
			Namespaces{IPC: "shareable", Cgroup: "private"}},
		"privileged": {Namespaces{}, Defaults{Cgroup: "private"}, true, Namespaces{IPC: "private", Cgroup: "host"}},
		"given": {Namespaces{IPC: "none", Cgroup: "host"}, Defaults{IPC: "shareable", CgroupV2: true}, false,
			Namespaces{IPC: "none", Cgroup: "host"}},
	} {
		if got := c.given.withDefaults(c.defaults, c.priv); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}

	c := Config{}.WithDefaults(Defaults{Init: true, NoNewPrivileges: true})
	if !*c.Init || !slices.Equal(c.Security.Options, []string{"no-new-privileges"}) {
		t.Errorf("got %v, %v, want the defaults", c.Init, c.Security.Options)
	}
	c = Config{Namespaces: Namespaces{PID: "host"}, Security: Security{Options: []string{"no-new-privileges=false"}}}
	c = c.WithDefaults(Defaults{Init: true, NoNewPrivileges: true})
	if c.Init != nil || len(c.Security.Options) != 1 {
		t.Errorf("got %v, %v, want no init process and the given option", c.Init, c.Security.Options)
	}
}
