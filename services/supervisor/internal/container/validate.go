package container

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/signal"
)

// Validate checks the configuration without accessing the kernel, the image or other services.
func (c *Config) Validate() error {
	checks := []func() error{
		c.validateSize, c.validateIdentity, c.validateProcess, c.validateMounts, c.validateNetwork,
		c.ValidatePolicies, c.ValidateBandwidth,
		c.validatePorts, c.validateDNS, c.validateSysctls, c.validateSecurity,
		c.validateNamespaces, c.validateRestart, c.validateHealth,
		func() error { return c.Resources.Validate(c.subject()) },
		func() error { return c.Log.Validate(c.subject()) },
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// maxConfigSize bounds the configuration of a container, of which several copies are stored and
// sent.
const maxConfigSize = 512 << 10

func (c *Config) validateSize() error {
	size := 0
	for _, list := range [][]string{c.Command, c.Entrypoint, c.Env, c.DNS.ExtraHosts, c.DNS.Servers, c.DNS.Search,
		c.DNS.Options, c.Network.Egress, c.Network.Ingress,
		c.Security.CapAdd, c.Security.CapDrop, c.Security.Options, c.Security.DeviceRules, c.Security.Groups,
		{c.Name, c.Image, c.User, c.WorkingDir, c.Platform, c.Runtime, c.Namespaces.CgroupParent}} {
		for _, s := range list {
			size += len(s)
		}
	}

	for _, m := range []map[string]string{c.Labels, c.Sysctls, c.Annotations} {
		for k, v := range m {
			size += len(k) + len(v)
		}
	}

	for _, m := range c.Mounts {
		size += len(m.Source) + len(m.Target)
	}

	for _, d := range c.Security.Devices {
		size += len(d.HostPath) + len(d.ContainerPath) + len(d.Permissions)
	}

	if size > maxConfigSize {
		return fault.New(fault.Invalid, "container",
			fmt.Sprintf("configuration of %d bytes exceeds the limit of %d", size, maxConfigSize),
			fault.WithField("label"),
			fault.WithHint("move large values to a file and mount it with --volume FILE:/path"))
	}

	return nil
}

func (c *Config) validateHealth() error { return c.Health.Validate(c.subject()) }

func (c *Config) validateRestart() error { return c.Restart.Validate(c.subject(), c.AutoRemove) }

func (c *Config) subject() string {
	if c.Name == "" {
		return "container"
	}
	return Subject(c.Name)
}

func (c *Config) validateIdentity() error {
	if c.Name != "" {
		if err := ValidateName(c.Name); err != nil {
			return err
		}
	}

	if strings.TrimSpace(c.Image) == "" {
		return fault.Invalidf(c.subject(), "image", "image is missing")
	}

	for k := range c.Labels {
		if k == "" {
			return fault.Invalidf(c.subject(), "label", "a label must have a name")
		}
	}

	return c.validateDNSNames()
}

func (c *Config) validateProcess() error {
	if c.StopSignal != "" {
		if _, err := signal.Parse(c.StopSignal); err != nil {
			return err
		}
	}
	return ValidateProcess(c.subject(), slices.Concat(c.Entrypoint, c.Command, []string{c.User}), c.Env, c.WorkingDir)
}

// ValidateProcess checks the arguments, environment and working directory of an init or exec
// process.
func ValidateProcess(subject string, args, env []string, workingDir string) error {
	for _, e := range env {
		if k, _, ok := strings.Cut(e, "="); !ok || k == "" {
			return fault.Invalidf(subject, "env", "%q is not a valid KEY=VALUE", e)
		}
	}

	if err := ValidateWorkingDir(subject, workingDir); err != nil {
		return err
	}

	all := slices.Concat(args, env, []string{workingDir})
	if i := slices.IndexFunc(all, func(s string) bool { return strings.ContainsRune(s, 0) }); i >= 0 {
		return fault.Invalidf(subject, "command", "%q contains a NUL byte", all[i])
	}

	return nil
}

// ValidateWorkingDir rejects a relative path, and a path to a process descriptor. An empty path
// means the default. With such a descriptor a vulnerable runtime starts the process in a host
// directory (CVE-2024-21626).
func ValidateWorkingDir(subject, dir string) error {
	if dir == "" {
		return nil
	}

	if !path.IsAbs(dir) {
		return fault.Invalidf(subject, "workdir",
			"the working directory '%s' is invalid, it needs to be an absolute path", dir)
	}

	isLink := func(s string) bool { return s == "fd" || s == "root" || s == "cwd" || s == "exe" }
	parts := append(strings.Split(path.Clean(dir)[1:], "/"), "")
	if parts[0] == "proc" && slices.ContainsFunc(parts[1:], isLink) ||
		parts[0] == "dev" && slices.Contains([]string{"fd", "stdin", "stdout", "stderr"}, parts[1]) {
		return fault.Invalidf(subject, "workdir",
			"the working directory '%s' is invalid, it must not be a process descriptor", dir)
	}

	return nil
}

func (c *Config) validatePorts() error {
	for _, p := range c.Network.Publish {
		if err := p.Validate(); err != nil {
			return fault.Invalidf(c.subject(), "publish", "%s", err)
		}
	}

	for _, a := range c.Network.Addresses {
		if err := a.Validate(); err != nil {
			return fault.New(fault.Invalid, c.subject(), err.Error(), fault.WithField("publish_address"),
				fault.WithHint("use an external address of the host, or publish ports with -p"))
		}
	}

	for _, p := range c.Network.Expose {
		if err := p.Validate(); err != nil {
			return fault.Invalidf(c.subject(), "expose", "%s", err)
		}
	}

	return nil
}

// maxHostname is the kernel's limit, __NEW_UTS_LEN.
const maxHostname = 64

func (c *Config) validateDNS() error {
	switch {
	case c.UTS != "" && c.UTS != UTSHost:
		return fault.Invalidf(c.subject(), "uts", "invalid UTS mode: %s; use %s or omit it", c.UTS, UTSHost)
	case c.UTS == UTSHost && (c.DNS.Hostname != "" || c.DNS.Domainname != ""):
		return fault.Invalidf(c.subject(), "hostname", "conflicting options: hostname and the UTS mode")
	}

	if h := c.DNS.Hostname; len(h) > maxHostname {
		return fault.Invalidf(c.subject(), "hostname", "hostname %q is too long (maximum %d bytes)", h, maxHostname)
	}

	for _, h := range c.DNS.ExtraHosts {
		name, addr, ok := strings.Cut(h, ":")
		if !ok || name == "" || addr == "" {
			return fault.Invalidf(c.subject(), "add-host", "bad format for add-host: %q", h)
		}
	}

	return nil
}
