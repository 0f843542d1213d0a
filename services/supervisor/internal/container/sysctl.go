package container

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// sysctlName is how a kernel parameter is called.
var sysctlName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_-]*(\.[a-zA-Z0-9_-]+)+$`)

// privateKernel are the kernel parameters of IPC namespaces.
var privateKernel = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced"}

// SysctlDomainname is the UTS namespace's parameter that --domainname sets.
const SysctlDomainname = "kernel.domainname"

// validateSysctls refuses kernel parameters that are not the container's own.
func (c *Config) validateSysctls() error {
	for _, name := range slices.Sorted(maps.Keys(c.Sysctls)) {
		if strings.ContainsAny(c.Sysctls[name], "\n\x00") || c.Sysctls[name] == "" {
			return fault.Invalidf(c.subject(), "sysctl", "sysctl %q has no value, or one of several lines", name)
		}
		if err := c.validateSysctl(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateSysctl(name string) error {
	refuse := func(text, hint string) error {
		return fault.New(fault.Invalid, c.subject(), text, fault.WithField("sysctl"), fault.WithHint("%s", hint))
	}
	_, joined := c.Network.Mode.Joined()
	part := strings.Split(name, ".")
	ofNetwork := part[0] == "net"
	switch {
	case !sysctlName.MatchString(name):
		return fault.Invalidf(c.subject(), "sysctl", "%q is no name of a kernel parameter", name)
	case ofNetwork && c.Network.Mode == ModeHost:
		return refuse(`sysctl "`+name+`" not allowed in host network namespace`, "set it on the host")
	case ofNetwork && joined:
		return refuse(`conflicting options: sysctl "`+name+`" and the network mode`, "give it to the container whose network is shared")
	case ofNetwork && ofOneInterface(part):
		return refuse(`interface specific sysctl setting "`+name+`" must be supplied using driver option 'com.docker.network.endpoint.sysctls'`,
			`--network 'name=NETWORK,driver-opt=com.docker.network.endpoint.sysctls=`+ifnamed(part)+"="+c.Sysctls[name]+"'")
	case name == SysctlDomainname && c.UTS == UTSHost:
		return refuse(`sysctl "`+name+`" not allowed in host UTS namespace`, "set it on the host")
	case !ofNetwork && !strings.HasPrefix(name, "fs.mqueue.") && !slices.Contains(privateKernel, name) && name != SysctlDomainname:
		return refuse(`sysctl "`+name+`" is not in a separate kernel namespace`, "set it on the host, for all")
	}
	return nil
}

// ofOneInterface tells whether a parameter is that of an interface which the container may not have, and perhaps under another name.
func ofOneInterface(part []string) bool {
	return len(part) > 4 && (part[2] == "conf" || part[2] == "neigh") && !slices.Contains([]string{"all", "default", "lo"}, part[3])
}

func ifnamed(part []string) string {
	named := slices.Clone(part)
	named[3] = "IFNAME"
	return strings.Join(named, ".")
}

// HasNoIPv6 tells whether the container is told to have no IPv6 at all.
func (c *Config) HasNoIPv6() bool { return c.Sysctls["net.ipv6.conf.all.disable_ipv6"] == "1" }

// AllSysctls are those that are asked for, and what --domainname means.
func (c *Config) AllSysctls() map[string]string {
	if c.DNS.Domainname == "" || c.Sysctls[SysctlDomainname] != "" {
		return c.Sysctls
	}
	all := maps.Clone(c.Sysctls)
	if all == nil {
		all = map[string]string{}
	}
	all[SysctlDomainname] = c.DNS.Domainname
	return all
}
