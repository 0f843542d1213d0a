package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func TestMissingPrivilegesAreNamed(t *testing.T) {
	h := Host{MissingCapabilities: []string{"CAP_SYS_RESOURCE"}}
	none := container.Namespaces{}
	options := func(o ...string) *container.Security { return &container.Security{Options: o} }
	for want, s := range map[string]*container.Security{
		"capability CAP_SYS_RESOURCE cannot be added": {CapAdd: []string{"sys_resource"}},
		"AppArmor profile x cannot be applied":        options("apparmor=x"),
		"SELinux label type:a is not supported":       options("label=type:a"),
		"the profile is not valid":                    options(`seccomp={"defaultAction":`),
	} {
		if err := h.CheckSecurity("container web", s, none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	for _, s := range []*container.Security{{Privileged: true}, {CapAdd: []string{"ALL"}},
		options("apparmor=unconfined"),
		options("label=disable"), options("seccomp=builtin"), options(`seccomp={"defaultAction":"SCMP_ACT_ALLOW"}`)} {
		if err := h.CheckSecurity("container web", s, none); err != nil {
			t.Errorf("%+v: got %v, want no error", s, err)
		}
	}

	private := container.Namespaces{Cgroup: container.PrivateNamespace}
	if h.CheckSecurity("container web", options(), private) == nil {
		t.Error("got a cgroup namespace without support of the kernel")
	}
	if (Host{SELinux: true}).CheckSecurity("container web", options("label=disable"), none) == nil {
		t.Error("got label=disable accepted where labels are enforced")
	}
}

func TestAppArmorProfileMustBeLoaded(t *testing.T) {
	loaded := filepath.Join(t.TempDir(), "profiles")
	if err := os.WriteFile(loaded, []byte("docker-default (enforce)\nmy profile (complain)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list, profile, want string
	}{
		{loaded, "docker-default", ""},
		{loaded, "my profile", ""},
		{loaded, "docker", "AppArmor profile docker cannot be applied: it is not loaded"},
		{loaded, container.Unconfined, ""},
		{loaded + ".missing", "docker", ""}, // the runtime finds out
	} {
		h := Host{AppArmor: true, AppArmorProfiles: c.list}
		err := h.CheckSecurity("container web", &container.Security{Options: []string{"apparmor=" + c.profile}},
			container.Namespaces{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.profile, err, c.want)
		}
	}
}

func TestSeccompProfileOfContainer(t *testing.T) {
	const allow = `{"defaultAction":"SCMP_ACT_ALLOW"}`
	for name, c := range map[string]struct {
		privileged       bool
		option, standard string
		want             specs.LinuxSeccompAction // empty: unconfined
	}{
		"default":              {false, "", "", specs.ActErrno},
		"configured":           {false, "", allow, specs.ActAllow},
		"configured off":       {false, "", container.Unconfined, ""},
		"builtin":              {false, container.Builtin, allow, specs.ActErrno},
		"given":                {false, allow, "", specs.ActAllow},
		"unconfined":           {false, container.Unconfined, "", ""},
		"privileged":           {true, "", allow, ""},
		"privileged and given": {true, allow, "", specs.ActAllow},
	} {
		o := base()
		o.Security.Privileged, o.SecurityOptions.Seccomp, o.DefaultSeccomp = c.privileged, c.option, c.standard
		s, err := Build(o)
		if err != nil {
			t.Fatal(err)
		}
		var got specs.LinuxSeccompAction
		if s.Linux.Seccomp != nil {
			got = s.Linux.Seccomp.DefaultAction
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
