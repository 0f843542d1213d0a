package container

import (
	"cmp"
	"slices"

	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
	"github.com/fairlead/fairlead/services/supervisor/internal/resource"
)

// Defaults are the agent's settings for options that a container does not set.
type Defaults struct {
	ShmSize     int64 // bytes of /dev/shm
	OOMScoreAdj int
	LogDriver   string // empty: json-file
	PidsLimit   int64  // processes and threads of one container; 0 means no limit
	Ulimits     []resource.Ulimit
	NoSwapLimit bool // the kernel cannot limit swap

	IPC             string // PrivateNamespace or IPCShareable; empty: PrivateNamespace
	Cgroup          string // PrivateNamespace or HostNamespace; empty: that of the cgroup version
	CgroupV2        bool
	CgroupParent    string
	Init            bool
	InitPath        string // init program of the host; empty: none exists
	NoNewPrivileges bool
	Seccomp         string // profile of containers without one; empty: Docker's
}

// StandardShmSize is Docker's size of /dev/shm.
const StandardShmSize = 64 << 20

// WithDefaults returns a copy with the defaults applied, so that later changes of the agent's
// settings do not change the container.
func (c Config) WithDefaults(d Defaults) Config {
	if d.ShmSize == 0 {
		d.ShmSize = StandardShmSize
	}
	c.Resources = c.Resources.WithDefaults(resource.Defaults{ShmSize: d.ShmSize, OOMScoreAdj: d.OOMScoreAdj,
		NoSwapLimit: d.NoSwapLimit})
	c.Namespaces = c.Namespaces.withDefaults(d, c.Security.Privileged)
	if c.Init == nil && d.Init && c.Namespaces.OwnsPIDs() {
		c.Init = &d.Init
	}

	options, err := ParseSecurityOptions("", c.Security.Options) // Validate has checked them
	if err == nil && options.NoNewPrivileges == nil && d.NoNewPrivileges {
		c.Security.Options = append(slices.Clone(c.Security.Options), "no-new-privileges")
	}
	if c.Log.Driver == "" {
		c.Log.Driver = cmp.Or(d.LogDriver, logdriver.JSONFile)
	}
	return c
}
