package container

import (
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
)

func FuzzParseSecurityOptions(f *testing.F) {
	for _, s := range []string{"seccomp=unconfined", "no-new-privileges:true", "label=type:x", "systempaths=unconfined",
		"apparmor=", "=", "seccomp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, option string) {
		if _, err := ParseSecurityOptions("container x", []string{option}); err != nil && !fault.Is(err,
			fault.Invalid) {
			t.Errorf("%q: got %v", option, err)
		}
	})
}

// A configuration of a user is valid or refused with a fault, whatever its texts are.
func FuzzValidate(f *testing.F) {
	f.Add("web", "container:a", "host", "/work", "A=b", "a:10.0.0.1", "seccomp=x", "net.ipv4.x=1")
	f.Add("", "", "", "/proc/self/fd/3", "=", ":", "", "=")
	f.Fuzz(func(t *testing.T, name, mode, pid, dir, env, host, security, label string) {
		c := Config{Name: name, Image: "x", Network: Network{Mode: Mode(mode)}, WorkingDir: dir, Env: []string{env},
			Namespaces: Namespaces{PID: pid, CgroupParent: dir}, DNS: DNS{ExtraHosts: []string{host}, Hostname: name},
			Security: Security{Options: []string{security}}, Labels: map[string]string{label: name},
			Sysctls: map[string]string{label: name}, Annotations: map[string]string{label: name},
			Mounts: []Mount{{Source: dir, Target: dir}, {Type: VolumeMount, Source: name, Target: host}}}
		if err := c.Validate(); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
	})
}
