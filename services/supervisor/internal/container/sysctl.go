package container

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
)

// sysctlName matches the name of a kernel parameter.
var sysctlName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_-]*(\.[a-zA-Z0-9_-]+)+$`)

// ipcSysctls lists the kernel parameters of IPC namespaces.
var ipcSysctls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
	"kernel.shmmax", "kernel.shmmni",
	"kernel.shm_rmid_forced"}

// SysctlDomainname is the UTS namespace parameter that --domainname sets.
const SysctlDomainname = "kernel.domainname"

// validateSysctls rejects kernel parameters that are not namespaced.
func (c *Config) validateSysctls() error {
	for _, name := range slices.Sorted(maps.Keys(c.Sysctls)) {
		if strings.ContainsAny(c.Sysctls[name], "\n\x00") || c.Sysctls[name] == "" {
			return fault.Invalidf(c.subject(), "sysctl", "sysctl %q must have a value of one line", name)
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
	isNetwork := part[0] == "net"
	switch {
	case !sysctlName.MatchString(name):
		return fault.Invalidf(c.subject(), "sysctl", "%q is not a valid kernel parameter name", name)
	case isNetwork && c.Network.Mode == ModeHost:
		return refuse(`sysctl "`+name+`" not allowed in host network namespace`, "set it on the host")
	case isNetwork && joined:
		return refuse(`conflicting options: sysctl "`+name+`" and the network mode`,
			"set it on the container whose network is shared")
	case isNetwork && ofOneInterface(part):
		return refuse(`interface specific sysctl setting "`+name+`" must be supplied using driver option 'com.docker.network.endpoint.sysctls'`,
			`--network 'name=NETWORK,driver-opt=com.docker.network.endpoint.sysctls=`+ifnamed(part)+"="+c.Sysctls[name]+"'")
	case name == SysctlDomainname && c.UTS == UTSHost:
		return refuse(`sysctl "`+name+`" not allowed in host UTS namespace`, "set it on the host")
	case isIPC(name) && c.Namespaces.IPC == HostNamespace:
		return refuse(`sysctl "`+name+`" not allowed in host IPC namespace`, "set it on the host")
	case isIPC(name) && strings.HasPrefix(c.Namespaces.IPC, joinPrefix):
		return refuse(`conflicting options: sysctl "`+name+`" and the IPC mode`,
			"set it on the container whose namespace is shared")
	case !isNetwork && !isIPC(name) && name != SysctlDomainname:
		return refuse(`sysctl "`+name+`" is not in a separate kernel namespace`, "set it on the host")
	}

	return nil
}

// isIPC reports whether a parameter belongs to IPC namespaces.
func isIPC(name string) bool {
	return strings.HasPrefix(name, "fs.mqueue.") || slices.Contains(ipcSysctls, name)
}

// ofOneInterface reports whether a parameter belongs to a single interface.
// The container may not have that interface, or may have it under another name.
func ofOneInterface(part []string) bool {
	return len(part) > 4 && (part[2] == "conf" || part[2] == "neigh") &&
		!slices.Contains([]string{"all", "default", "lo"}, part[3])
}

func ifnamed(part []string) string {
	named := slices.Clone(part)
	named[3] = "IFNAME"
	return strings.Join(named, ".")
}

// HasNoIPv6 reports whether the container disables IPv6 on all interfaces.
func (c *Config) HasNoIPv6() bool { return c.Sysctls["net.ipv6.conf.all.disable_ipv6"] == "1" }

// AllSysctls returns the requested kernel parameters, with the one that --domainname sets.
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
