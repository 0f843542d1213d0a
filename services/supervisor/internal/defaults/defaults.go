// Package defaults reads the agent's settings for containers' options and checks that this host can
// enforce them. The root of the supervisor calls it once. Package container applies the result.
package defaults

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/cgroup"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
	"github.com/fairlead/fairlead/services/supervisor/internal/spec"
)

// Options are defaults of containers' options. Zero values mean those of Docker.
type Options struct {
	LogDriver       string // json-file, local, journald or none
	PidsLimit       int64  // processes and threads of one container; 0 means no limit
	Ulimits         []resource.Ulimit
	ShmSize         int64  // bytes of /dev/shm
	IPCMode         string // private or shareable
	CgroupnsMode    string // private or host
	CgroupParent    string
	Init            bool   // run an init process in each container
	InitPath        string // init program; empty means docker-init, catatonit or tini-static
	NoNewPrivileges bool
	SeccompProfile  string // a file, builtin or unconfined
}

// Read returns the defaults of containers' options. It fails for one that this host cannot enforce.
func Read(o Options, groups cgroup.Layout, host spec.Host) (container.Defaults, error) {
	d := container.Defaults{LogDriver: o.LogDriver, PidsLimit: o.PidsLimit,
		NoSwapLimit: !groups.Features.Swap, Ulimits: o.Ulimits,
		CgroupV2: groups.Mode == cgroup.V2, InitPath: spec.FindInit(o.InitPath), ShmSize: o.ShmSize, IPC: o.IPCMode,
		Cgroup: o.CgroupnsMode, CgroupParent: o.CgroupParent, Init: o.Init, NoNewPrivileges: o.NoNewPrivileges}
	if err := host.CheckUlimits("default-ulimits", "default-ulimits", d.Ulimits); err != nil {
		return d, err
	}

	missing := d.InitPath == ""
	switch {
	case missing && o.InitPath != "":
		return d, fault.New(fault.Invalid, "init-path "+o.InitPath, "is not a program", fault.WithField("init-path"),
			fault.WithHint("name an executable file"))
	case missing && o.Init:
		return d, fault.New(fault.Invalid, "init", "no init program was found", fault.WithField("init"),
			fault.WithHint("install the package catatonit, or set init-path"))
	case o.CgroupnsMode == container.PrivateNamespace && !host.CgroupNamespaces:
		return d, fault.Invalidf("default-cgroupns-mode", "default-cgroupns-mode",
			"Your kernel does not support cgroup namespaces")
	}

	var err error
	d.Seccomp, err = readProfile(o.SeccompProfile)
	return d, err
}

// readProfile returns the content of a seccomp profile, or its name if it is not a file.
func readProfile(profile string) (string, error) {
	if profile == "" || profile == container.Unconfined || profile == container.Builtin {
		return profile, nil
	}
	text, err := os.ReadFile(profile)
	if err == nil {
		_, err = spec.LoadSeccomp(string(text), &specs.Spec{Process: &specs.Process{}})
	}
	return string(text), fault.Wrap(err, fault.Invalid, "seccomp-profile "+profile, "cannot be used")
}
