package spec

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/users"
)

var update = flag.Bool("update", false, "write the golden files")

func base() Options {
	return Options{
		Process: Process{Args: []string{"nginx", "-g", "daemon off;"}, Env: []string{"NGINX_VERSION=1.22"},
			User: users.User{Home: "/root"}},
		Rootfs:     "/var/lib/fairlead/containers/c1/rootfs",
		Hostname:   "web.example.com",
		NetNS:      "/run/fairlead/netns/c1",
		CgroupPath: "/fairlead/c1",
	}
}

func TestBuildMatchesGoldenFiles(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"bridge": func(o *Options) {
			o.HostnameFile, o.HostsFile, o.ResolvConfFile = "/run/n/hostname", "/run/n/hosts", "/run/n/resolv.conf"
		},
		"host_network_v2_tty_user": func(o *Options) {
			o.NetNS, o.Host.CgroupV2, o.Host.OOMScoreAdj = "", true, 100
			o.Host.MissingCapabilities = []string{"CAP_AUDIT_WRITE"}
			o.Host.ThermalThrottle = []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"}
			o.Process = Process{Args: []string{"sh"}, Env: []string{"PATH=/bin", "TERM=vt100", "HOME=/tmp"},
				WorkingDir: "/srv", TTY: true,
				Rows: 50, Cols: 132, User: users.User{UID: 33, GID: 34, Groups: []uint32{50}, Home: "/var/www"}}
		},
		"privileged_joined": func(o *Options) {
			o.Security = container.Security{Privileged: true, ReadOnly: true}
			o.Namespaces = container.Namespaces{PID: "container:a", IPC: "container:a", Cgroup: "private"}
			o.PIDNamespace, o.IPCNamespace, o.SharedMemory = "/proc/5/ns/pid", "/proc/5/ns/ipc", "/run/shm"
			o.HostsFile = "/run/n/hosts"
			o.Devices = []DeviceNode{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, Mode: 0o666, Access: "rwm"}}
		},
		"confined": func(o *Options) {
			yes := true
			o.Security = container.Security{CapAdd: []string{"net_admin"}, CapDrop: []string{"ALL"},
				DeviceRules: []string{"c 10:* rw"}}
			o.SecurityOptions = container.SecurityOptions{NoNewPrivileges: &yes, AppArmor: "mine",
				SystemPaths: container.Unconfined}
			o.Namespaces = container.Namespaces{PID: "host", IPC: "none", Cgroup: "host"}
			o.Host.CgroupV2 = true
			o.Init, o.InitTarget = "/usr/bin/catatonit", "/usr/sbin/docker-init"
			o.Annotations = map[string]string{"a": "b"}
			o.Devices = []DeviceNode{{Path: "/dev/x", Type: "b", Major: 7, Minor: 1, Mode: 0o600, GID: 6, Access: "r"}}
		},
		"mounts": func(o *Options) {
			o.HostsFile, o.ResolvConfFile = "/run/n/hosts", "/run/n/resolv.conf"
			o.Host.RecursiveReadOnly = true
			o.PidsLimit = 4096
			o.Mounts = []Mount{{Source: "/srv", Target: "/srv", ReadOnly: true},
				{Source: "/srv/f", Target: "/f", ReadOnly: true, File: true}, {Source: "/mnt", Target: "/mnt",
					Propagation: "rslave"},
				{Source: "/my/hosts", Target: "/etc/hosts"}}
		},
	} {
		o := base()
		change(&o)
		s, err := Build(o)
		if err != nil {
			t.Fatal(err)
		}
		if (s.Linux.Seccomp == nil) != o.Security.Privileged {
			t.Errorf("%s: seccomp profile %v", name, s.Linux.Seccomp)
		}
		s.Linux.Seccomp = nil // depends on the kernel: see below
		got, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(got, '\n'))
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestSeccompProfileFollowsCapabilities(t *testing.T) {
	allowed := func(change func(*Options)) map[string]bool {
		o := base()
		change(&o)
		s, err := Build(o)
		if err != nil {
			t.Fatal(err)
		}
		if s.Linux.Seccomp.DefaultAction != specs.ActErrno {
			t.Errorf("got default action %s", s.Linux.Seccomp.DefaultAction)
		}

		names := map[string]bool{}
		for _, c := range s.Linux.Seccomp.Syscalls {
			for _, n := range c.Names {
				names[n] = names[n] || c.Action == specs.ActAllow
			}
		}

		return names
	}
	full := allowed(func(*Options) {})
	less := allowed(func(o *Options) { o.Host.MissingCapabilities = []string{"CAP_SYS_CHROOT"} })
	for name, want := range map[string]bool{"read": true, "execve": true, "chroot": true, "mount": false,
		"bpf": false, "kexec_load": false} {
		if full[name] != want {
			t.Errorf("%s allowed: got %v, want %v", name, full[name], want)
		}
	}

	if less["chroot"] {
		t.Error("chroot is allowed without CAP_SYS_CHROOT")
	}
}

func TestUserVariablesOverrideDefaults(t *testing.T) {
	p := ExecProcess(Host{}, Process{Args: []string{"env"}, Env: []string{"HOSTNAME=mine", "A=1", "PATH="},
		TTY: true}, "host")
	want := []string{"TERM=xterm", "HOSTNAME=mine", "A=1", "PATH="}
	if !slices.Equal(p.Env, want) {
		t.Errorf("got env %q, want %q", p.Env, want)
	}
}

func TestRootfsPropagation(t *testing.T) {
	for want, propagations := range map[string][]string{
		"":       {"", "rprivate", "private"},
		"rslave": {"", "slave", "rprivate"},
		"shared": {"rslave", "rshared", "slave"},
	} {
		o := base()
		for _, p := range propagations {
			o.Mounts = append(o.Mounts, Mount{Source: "/a", Target: "/a", Propagation: p})
		}
		if got := o.rootfsPropagation(); got != want {
			t.Errorf("%q: got %q, want %q", propagations, got, want)
		}
	}
}

func TestDetectHost(t *testing.T) {
	h, err := DetectHost(true)
	if err != nil || !h.CgroupV2 {
		t.Errorf("DetectHost: got %+v, %v", h, err)
	}
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		s, err := Build(base())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := json.Marshal(s); err != nil {
			b.Fatal(err)
		}
	}
}
